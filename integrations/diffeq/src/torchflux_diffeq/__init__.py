"""Differential equations inside models: each sample with steps of its own, and the gradient of the whole."""

from ._adjoint import *
from ._backsolve import *
from ._brownian import *
from ._collocation import *
from ._controller import *
from ._divergence import *
from ._ffjord import *
from ._field import *
from ._forward import *
from ._implicit import *
from ._implicit_euler import *
from ._march import *
from ._mechanics import *
from ._methods import *
from ._native_args import *
from ._native_chain import *
from ._native_route import *
from ._neural_ode import *
from ._neural_sde import *
from ._rosenbrock import *
from ._runge_kutta import *
from ._sde import *
from ._shooting import *
from ._solution import *
from ._solve import *
from ._solver import *
from ._stochastic import *
from ._tableau import *

__version__ = "0.1.0"
__all__ = [name for name in dir() if not name.startswith("_")]
