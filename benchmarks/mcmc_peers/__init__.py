"""The peers of `benchmarks/mcmc.py`: each draws from the same densities in its own library."""
