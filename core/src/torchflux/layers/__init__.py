"""The catalogue of layers."""

from ._attention import *
from ._basic import *
from ._conv import *
from ._norm import *
from ._padding import *
from ._pool import *
from ._recurrent import *
from ._upsample import *
