"""The corners of the domain, and the harmonic functions that are singular as the solution is there.

A corner of an angle α that isn't π/2 or the like has r^(π/α) sin(πθ/α): a slope without bounds where α > π. In a right
angle -Δu = 1 and u = 0 on both edges don't fit together at the corner itself, where u_xx = u_yy = 0, and so leave
r² log r; at three right angles, too.
"""

import math

import torch

CORNERS = ((0, 0), (1, 0), (1, -1), (-1, -1), (-1, 1), (0, 1))
"""The first one points inwards."""


def angle(x, y):
    """0 on the edge to (1, 0), 3π/2 on that to (0, 1); cut along the middle of the quarter that is missing."""
    return torch.atan2(y - x, -x - y) + 3 * math.pi / 4


def root(x, y):
    """r^(2/3) sin(2θ/3), harmonic, and zero on both edges of the corner that points inwards."""
    return (x * x + y * y) ** (1 / 3) * torch.sin(2 / 3 * angle(x, y))


def logarithm(a, b, p, q):
    """Re z² log z, with z counted from the corner (a, b), from its middle line (p, q): harmonic, too."""

    def function(x, y):
        along, across = ((x - a) * p + (y - b) * q) / 2**0.5, ((y - b) * p - (x - a) * q) / 2**0.5
        square, turn = along * along + across * across, torch.atan2(across, along)
        return (along * along - across * across) * torch.log(square) / 2 - 2 * along * across * turn

    return function


MIDDLES = ((-1, -1), (-1, -1), (-1, 1), (1, 1), (1, -1), (-1, -1))
LOGARITHMS = [logarithm(*corner, *middle) for corner, middle in zip(CORNERS, MIDDLES, strict=True)]
