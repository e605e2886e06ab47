"""Measurements that are run by hand; their results are committed as text beside them."""
