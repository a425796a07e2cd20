"""What `benchmarks/physics.py` compares: JAX, and in processes of their own DeepXDE and our whole trainings."""
