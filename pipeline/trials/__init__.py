"""The grid of trials, how they run, where they lie and what they are made of."""
