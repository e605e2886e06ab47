"""Trials: their grid, files, specs, provenance and execution."""
