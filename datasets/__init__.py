"""Data sets: loaders and data cards."""
