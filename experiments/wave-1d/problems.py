"""The string: its equation, its conditions, apart or built into a network's output, and its solution."""

import math

import torch
from torch import Tensor

from torchflux_physics import Dirichlet, Initial, Interval, Problem

C = 2.0
STRING = Interval("x", 0, 1) * Interval("t", 0, 1)
WAVE = {"wave": lambda u: u.tt - C**2 * u.xx}


def beginning(x):
    return torch.sin(math.pi * x) + torch.sin(4 * math.pi * x) / 2


def exact(x: Tensor, t: Tensor) -> Tensor:
    """u(x, t), all (n,)."""
    return (beginning(x - C * t) + beginning(x + C * t)) / 2


SOFT = Problem(
    STRING,
    WAVE,
    {
        "ends": Dirichlet("u", 0.0, on=STRING.boundary),
        "beginning": Initial("u", beginning, on=STRING.start),
        "rest": Initial("u.t", 0.0, on=STRING.start),
    },
)
HARD = Problem(STRING, WAVE)


def built_in(u, x, t):
    """An output for which all three conditions hold."""
    return beginning(x) + t**2 * x * (1 - x) * u


def centred(points):
    """The domain, from -1 to 1 along both."""
    return 2 * points - 1
