"""torchflux_physics: differential equations written for one point, and training that meets them."""

from . import _composite, _elementwise, _linear
from ._calculus import *
from ._elementwise import *
from ._field import *
from ._quadrature import *
from ._residual import *

__version__ = "0.1.0"
__all__ = [name for name in dir() if not name.startswith("_")]
