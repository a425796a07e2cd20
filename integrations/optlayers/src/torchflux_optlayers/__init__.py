"""Optimisation problems as layers: quadratic and other convex programs, and implicit functions."""

from ._adjoint import *
from ._anderson import *
from ._broyden import *
from ._convex import *
from ._fixed_point import *
from ._gauss_newton import *
from ._gradient_descent import *
from ._lbfgs import *
from ._least_squares import *
from ._levenberg_marquardt import *
from ._line_search import *
from ._linear_solve import *
from ._linear_solvers import *
from ._minimise import *
from ._newton import *
from ._osqp import *
from ._outcome import *
from ._qp import *
from ._root import *
from ._rows import *
from ._scipy import *
from ._scipy_minimise import *
from ._solution import *
from ._sparse import *

__version__ = "0.1.0"
__all__ = [name for name in dir() if not name.startswith("_")]
