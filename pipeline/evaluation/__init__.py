"""Metrics, statistics, and measures of synthetic images."""
