"""bigjax: train Flax models from a laptop to a TPU pod without a change of code."""

__version__ = "0.1.0"
