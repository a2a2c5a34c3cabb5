"""Who drives the GPU: one module for each package, all behind `kernels.device`."""
