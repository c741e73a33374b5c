"""Keys, types and ranges of a configuration, and errors that name them in one line."""
