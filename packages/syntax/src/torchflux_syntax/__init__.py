"""torchflux_syntax: Python functions read into a small normal form, transformed, printed and run again.

function = read(f)                       # the source of f, every intermediate named
print(show(function))                    # ... as readable Python
g = load(structure(function))            # ... and as a function again, with one return and no jumps
"""

from ._constructs import *
from ._function import *
from ._grammar import *
from ._load import *
from ._names import *
from ._pass import *
from ._quote import *
from ._read import *
from ._show import *
from ._structure import *
from ._unsupported import *
from ._yields import *

__version__ = "0.1.0"
