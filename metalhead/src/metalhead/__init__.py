"""metalhead: vision models in short files that load the world's weights, and images that know their layout."""

from ._fastest import *
from ._keys import *
from ._layers import *
from ._loading import *
from ._model import *
from ._models import *
from ._published import *
from ._registry import *
from ._weights import *

__version__ = "0.1.0"
__all__ = [name for name in dir() if not name.startswith("_")]
