"""From files of the user to arrays of one size: listing, decoding, resizing, keeping."""
