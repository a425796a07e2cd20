"""torchflux_physics: differential equations written for one point, and training that meets them."""

from . import _composite, _elementwise, _linear
from ._bfgs import *
from ._calculus import *
from ._compiled import *
from ._condition import *
from ._domain import *
from ._elementwise import *
from ._fastest import *
from ._field import *
from ._hard import *
from ._lbfgs import *
from ._networks import *
from ._operator_networks import *
from ._points import *
from ._problem import *
from ._product import *
from ._quadrature import *
from ._residual import *
from ._shapes import *
from ._training import *

__version__ = "0.1.0"
__all__ = [name for name in dir() if not name.startswith("_")]
