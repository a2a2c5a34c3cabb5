"""One ONNX with everything inside: a frame in, score and anomaly map out, standard operators only."""

from .model import standalone

__all__ = ["standalone"]
