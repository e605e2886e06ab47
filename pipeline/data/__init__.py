"""Images, splits and where they come from."""
