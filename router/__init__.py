"""The Embedway router: one endpoint in front of vector spaces served by Triton."""

__version__ = "0.1.0"
