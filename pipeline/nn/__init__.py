"""What networks of all rooms share; knows no model and no dataset."""
