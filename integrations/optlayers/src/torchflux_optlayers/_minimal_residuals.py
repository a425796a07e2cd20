"""Reduced systems whose curvatures are small against the proximal terms: the residual is made minimal.

Refinement takes away the share `λ / (λ + ρ)` of what is wrong along an eigenvector of Q. Where that is little, the
corrections are combined instead, so that their images come as near to the residual as they can. A few are enough, as
there are few such eigenvectors.

Source: Eisenstat, Elman & Schultz (1983), doi:10.1137/0720023.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ._constants import GAIN, MORE, NOTHING

__all__ = ["descended"]

Map = Callable[[Tensor], Tensor]


def descended(z: Tensor, going: Tensor, residual: Map, image: Map, correction: Map) -> Tensor:
    """Points (B, n) nearer to the solutions of linear systems than `z`, where a system is `going` (B,).

    Arguments:
        residual, image: what a point leaves, and the system's matrix times a vector.
        correction: about the solution for a residual.
    """
    ways, images = z.new_zeros(2, len(z), min(MORE, z.shape[1]), z.shape[1])
    for i in range(ways.shape[1]):
        left = residual(z)
        size = left.norm(dim=1)
        way = correction(left)
        seen = image(way)
        for known, by in zip(images.unbind(1)[:i], ways.unbind(1)[:i], strict=True):
            share = (seen * known).sum(1, keepdim=True)
            seen, way = seen - share * known, way - share * by
        length = seen.norm(dim=1)
        share = (seen * left).sum(1) / length
        going = going & (length > NOTHING * size) & (share.square() > GAIN * size.square())
        if not going.any():
            break
        inverse = torch.where(going, 1 / length, 0.0)[:, None]
        ways[:, i], images[:, i] = way * inverse, seen * inverse
        z = torch.where(going[:, None], z + share[:, None] * ways[:, i], z)
    return z
