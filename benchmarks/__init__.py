"""Measurements that are run by hand; their results are committed as text beside them."""

import pipeline  # noqa: F401  # before numpy and torch, which read its settings when they are loaded
