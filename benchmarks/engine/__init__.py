"""`make bench-engine`: the engine against sentence-transformers and plain transformers."""
