"""Vectors as numpy arrays: checks, Matryoshka and codecs. No I/O."""
