"""Pyro's models and kernels: `pip install torchflux-mcmc[pyro]`."""

try:
    import pyro as _pyro  # noqa: F401
except ImportError as error:
    raise ImportError("torchflux_mcmc.pyro needs Pyro: pip install pyro-ppl") from error

from ._pyro_density import pyro_logdensity
from ._pyro_kernels import pyro_kernel, stepped
from ._pyro_script import HMC, MCMC, NUTS

__all__ = ["HMC", "MCMC", "NUTS", "pyro_kernel", "pyro_logdensity", "stepped"]
