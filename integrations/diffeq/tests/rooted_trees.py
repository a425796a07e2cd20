"""Rooted trees and what order conditions make of them; a tree is the tuple of the trees that hang on its root.

Source: Hairer, Nørsett & Wanner (1993), II.2; for methods with a Jacobian: Hairer & Wanner (1996), IV.7.
"""

import math
from functools import cache

import numpy as np


@cache
def trees(size):
    """All trees of a number of vertices."""
    return sorted(forests(size - 1, size - 1))


@cache
def forests(size, largest):
    """The ways to hang trees of up to `largest` vertices, `size` in all, on one root, the largest first."""
    if size == 0:
        return [()]
    return sorted(
        {
            tuple(sorted((tree, *rest)))
            for first in range(1, min(size, largest) + 1)
            for tree in trees(first)
            for rest in forests(size - first, first)
        }
    )


def vertices(tree):
    return 1 + sum(map(vertices, tree))


def density(tree):
    return vertices(tree) * math.prod(map(density, tree))


def elementary(tree, α, β):
    """The elementary weights of the stages: a vertex with one child takes `β`, others `α`."""
    weights = β if len(tree) == 1 else α
    return math.prod([weights @ elementary(child, α, β) for child in tree], start=np.ones(len(α)))


def defect(order, b, α, β=None):
    """By how much the weights `b` miss the worst of the conditions of an order."""
    β = α if β is None else β
    return max(abs(b @ elementary(tree, α, β) - 1 / density(tree)) for tree in trees(order))
