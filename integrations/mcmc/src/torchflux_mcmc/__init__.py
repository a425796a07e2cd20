"""Markov chain Monte Carlo in the training loop: kernels of two functions, many chains at once."""

from ._adaptation import *
from ._diagnostics import *
from ._gibbs import *
from ._hamiltonian import hmc, mala
from ._kernel import Info, Kernel, State
from ._metric import Dense, Diagonal
from ._metropolis import *
from ._native_route import *
from ._nuts import *
from ._optimiser import *
from ._run import *
from ._stochastic import *
from ._summary import Summary, plot_rank, plot_trace, summary, to_arviz

__version__ = "0.1.0"
__all__ = [name for name in dir() if not name.startswith("_")]
