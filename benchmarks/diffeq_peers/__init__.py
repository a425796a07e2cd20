"""The peers of `benchmarks/diffeq.py`: each gives the same loss and gradient in its own library."""
