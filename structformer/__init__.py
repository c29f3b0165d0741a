"""structformer."""
