"""The catalogue of layers."""

from ._basic import *
