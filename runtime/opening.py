"""From a bundle to a running detector: the one place where backend, head and recipe meet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle
from .detector import HostDetector
from .head import HeadForm
from .heads import host_kernels, open_gpu, open_head
from .images.files import load_image
from .network import Network
from .networks import open_network
from .networks.stall import Stall, StallNetwork
from .recipe import Recipe

F32 = NDArray[np.float32]


def open_detector(
    bundle: Bundle,
    recipe: Recipe | None = None,
    backend: str = "onnxruntime",
    threads: int = 1,
    stalls: Sequence[Stall] = (),
    head: HeadForm | None = None,
    network: Network | None = None,
) -> HostDetector:
    """Opens a detector for a bundle, inspecting the recipe's region and mask; the caller closes it.

    Args:
        threads: of the network and of each native kernel.
        stalls: hangs of the network, on a script.
        head: form of the kernels around the network; None is native where it was compiled. cuda runs the head
            on the GPU, preprocessing stays on the CPU with this network.
        network: of this bundle, opened before; None opens the backend's.

    Raises:
        EngineError: the backend cannot run the network here, or the head that is asked for is missing.
        BundleError: head and network do not fit.
        ConfigError: the recipe's mask cannot be read.
    """
    kernels = host_kernels(head, threads)
    opened = open_head(bundle, kernels, open_gpu() if head == "cuda" else None)
    mask = None if recipe is None or recipe.mask is None else load_mask(Path(recipe.mask), opened.map_shape)
    network = open_network(backend, bundle, threads) if network is None else network
    network = StallNetwork(network, stalls) if stalls else network
    region = None if recipe is None else recipe.region
    return HostDetector(bundle.manifest.preprocessing, network, opened, kernels, region, mask)


def load_mask(path: Path, shape: tuple[int, int]) -> F32:
    """A grey image over the inspected region as weights on the map's grid, (h, w) float32, 0..1."""
    grey = load_image(path, colour=False)
    # Area averaging: a map cell that is half masked counts half.
    small = cv2.resize(grey, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    mask: F32 = small.astype(np.float32) / np.float32(255)
    return mask
