"""The catalogue of layers."""

from ._basic import *
from ._conv import *
from ._norm import *
from ._padding import *
from ._pool import *
