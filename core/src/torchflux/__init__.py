"""torchflux: differentiable programming for PyTorch.

A model is any callable; one tree walk does everything structural; gradients, optimisers and training loops
are plain functions. Everything that holds parameters is an `nn.Module`, so all of PyTorch works on it.
"""

from ._activations import *
from ._adjoint import *
from ._containers import *
from ._data import *
from ._device import *
from ._gradient import *
from ._init import *
from ._losses import *
from ._model import *
from ._optimise import *
from ._outputsize import *
from ._rules import *
from ._save import *
from ._show import *
from ._train import *
from ._treelike import *
from ._walk import *
from .layers import *

__version__ = "0.1.0"
__all__ = [name for name in dir() if not name.startswith("_")]
