"""Pyro is an extra: without it, its modules can't be imported, and their examples aren't run."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("pyro") else ["src/torchflux_mcmc/*pyro*.py"]
