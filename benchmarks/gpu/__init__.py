"""The kernels on a GPU, timed by CUDA events beside their peers and beside what the GPU could do at best."""
