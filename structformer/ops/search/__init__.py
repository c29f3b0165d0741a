"""Top-k inner product inside every set of a batch: exact, by FAISS, by random hashing, from a known graph."""
