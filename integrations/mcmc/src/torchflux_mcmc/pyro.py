"""Pyro's models and kernels: `pip install torchflux-mcmc[pyro]`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._pyro_density import pyro_logdensity
    from ._pyro_kernels import pyro_kernel, stepped
    from ._pyro_script import HMC, MCMC, NUTS

__all__ = ["HMC", "MCMC", "NUTS", "pyro_kernel", "pyro_logdensity", "stepped"]

_PLACES = {
    "pyro_logdensity": "_pyro_density",
    "pyro_kernel": "_pyro_kernels",
    "stepped": "_pyro_kernels",
    "HMC": "_pyro_script",
    "MCMC": "_pyro_script",
    "NUTS": "_pyro_script",
}


def __getattr__(name: str) -> Any:
    """Imports Pyro when something here is first asked for, since it is an extra."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_PLACES[name]}", __package__), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "pyro":
            raise
        raise ImportError("torchflux_mcmc.pyro needs Pyro: pip install torchflux-mcmc[pyro]") from error
