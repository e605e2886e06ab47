"""Image files to arrays of one size: listing, decoding, resizing, caching."""
