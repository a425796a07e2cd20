"""metalhead: vision models in short files that load the world's weights, and images that know their layout."""

__version__ = "0.1.0"
