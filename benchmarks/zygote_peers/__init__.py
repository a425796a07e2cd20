"""The programs of `benchmarks/zygote.py`, one file each: as written for every peer."""
