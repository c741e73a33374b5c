"""Response of a chain of transformations, and sharpness relative to the edge of stability."""
