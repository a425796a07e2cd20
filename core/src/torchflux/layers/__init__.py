"""The catalogue of layers."""

from ._attention import *
from ._basic import *
from ._conv import *
from ._norm import *
from ._recurrent import *
