"""Optimisation problems as layers: batched quadratic programs with a status per element and every derivative."""

from ._convex import *
from ._osqp import *
from ._qp import *
from ._solution import *

__version__ = "0.1.0"
__all__ = [name for name in dir() if not name.startswith("_")]
