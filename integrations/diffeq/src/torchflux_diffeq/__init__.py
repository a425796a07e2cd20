"""Differential equations inside models: each sample with steps of its own, and the gradient of the whole."""

from ._adjoint import Adjoint, Discrete
from ._backsolve import *
from ._brownian import BrownianTree
from ._collocation import *
from ._controller import PID, Fixed
from ._dense import SaveAt, Steps
from ._divergence import *
from ._dopri8 import *
from ._events import Callback, Event
from ._ffjord import *
from ._field import PerSample, per_sample
from ._forward import *
from ._implicit import *
from ._implicit_euler import *
from ._march import Status
from ._mechanics import *
from ._methods import *
from ._native_args import *
from ._native_chain import *
from ._native_network import *
from ._native_route import *
from ._neural_ode import *
from ._neural_sde import *
from ._odeint import *
from ._rosenbrock import *
from ._runge_kutta import *
from ._scipy import *
from ._sde import SDE
from ._shooting import *
from ._solution import *
from ._solve import *
from ._solver import *
from ._steady_state import *
from ._stochastic import *
from ._symplectic import *
from ._tableau import *
from ._torchdiffeq import *
from ._unreached import UnreachedWarning, unreached

__version__ = "0.1.0"
__all__ = [name for name in dir() if not name.startswith("_")]
