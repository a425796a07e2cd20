"""torchflux_zygote: gradients of ordinary Python, by source transformation.

from torchflux_zygote import gradient, adjoint_source

def power(x, n):
    y = 1.0
    for i in range(n):
        y = y * x
    return y

gradient(power, 2.0, 3)         # (12.0, None)
print(adjoint_source(power))    # the code that was run for it
"""

from . import (
    _again,
    _arithmetic,
    _attributes,
    _builtins,
    _copies,
    _dicts,
    _elementwise,
    _entries,
    _forward_containers,
    _forward_dicts,
    _forward_iterators,
    _forward_lists,
    _functions,
    _in_place,
    _iterators,
    _itertools,
    _nested,
    _numpy,
    _numpy_functions,
    _sets,
    _torch,
    _torch_made,
    _torch_numbers,
    _torch_shapes,
    _views,
    _yields,
)
from . import _gradient as _gradients
from ._again import hessian, pushforward
from ._custom import adjoint
from ._gradient import gradient, jacobian, pullback, withgradient
from ._layout import PathDict
from ._native import native
from ._refuse import Refused
from ._tools import adjoint_source, checkpointed, hook, ignore, pushforward_source

__version__ = "0.1.0"
__all__ = [
    "PathDict",
    "Refused",
    "adjoint",
    "adjoint_source",
    "checkpointed",
    "gradient",
    "hessian",
    "hook",
    "ignore",
    "jacobian",
    "native",
    "pullback",
    "pushforward",
    "pushforward_source",
    "withgradient",
]

_again.register(gradient=gradient, withgradient=withgradient, pullback=pullback, jacobian=jacobian, hessian=hessian)
