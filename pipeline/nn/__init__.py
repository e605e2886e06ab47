"""What every network here shares."""
