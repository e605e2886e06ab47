"""Generators that are trained against a discriminator."""
