"""FP16 written into a network, and the layers that stay in FP32, found by measurement."""
