"""Machine code is an extra: without it, the compiled modules can't be imported."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torchflux_zygote") else ["src/torchflux_optlayers/_native_*.py"]
