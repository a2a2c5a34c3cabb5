"""What trains, in torch: imported by a method's `fit` and by nothing else."""
