"""Machine code and CVXPY are extras: without them, what needs them can't be imported or run as a doctest."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torchflux_zygote") else ["src/torchflux_optlayers/_native_*.py"]
if not find_spec("cvxpy"):
    collect_ignore_glob += ["src/torchflux_optlayers/_convex.py", "tests/*convex_*.py"]
