"""Images, datasets and splits."""
