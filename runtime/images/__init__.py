"""Image files, data sets of them, and pictures drawn over them."""
