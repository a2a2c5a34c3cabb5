"""Figures of merit and thresholds, from scores and maps."""
