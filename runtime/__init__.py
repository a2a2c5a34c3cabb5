"""Frames in, verdicts out. Imports neither torch nor onnx."""
