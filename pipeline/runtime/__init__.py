"""Errors, seeds, determinism, files, progress: knows nothing of images."""
