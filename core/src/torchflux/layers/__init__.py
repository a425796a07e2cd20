"""The catalogue of layers."""

from ._basic import *
from ._conv import *
from ._norm import *
from ._sequence import *
