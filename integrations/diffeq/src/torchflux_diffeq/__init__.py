"""Differential equations inside models: each sample with steps of its own, and the gradient of the whole."""

from ._adjoint import *
from ._brownian import *
from ._controller import *
from ._dense import SaveAt, Steps
from ._divergence import *
from ._events import Callback, Event
from ._ffjord import *
from ._field import *
from ._implicit import *
from ._march import *
from ._mechanics import *
from ._methods import *
from ._neural_ode import *
from ._runge_kutta import *
from ._sde import *
from ._solution import *
from ._solve import *
from ._solver import *
from ._stochastic import *
from ._tableau import *

__version__ = "0.1.0"
__all__ = [name for name in dir() if not name.startswith("_")]
