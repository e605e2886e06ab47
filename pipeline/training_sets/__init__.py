"""From a labeled subset and added images to a training set."""
