"""Affine maps of batches of images, a map for each."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__: list[str] = []


def warp(x: Tensor, inverse: Tensor, interpolation: str = "bilinear", fill: float = 0.0) -> Tensor:
    """Images whose pixel at p is what was at A p + t; p is (x, y) in pixels from the upper left corner.

    Arguments:
        x: (batch, channels, height, width), floats.
        inverse: [A t], (batch, 2, 3).
        fill: what is outside.
    """
    if not len(x):
        return x
    if x.dtype in (torch.float16, torch.bfloat16):  # too coarse for places
        return warp(x.float(), inverse, interpolation, fill).to(x.dtype)
    height, width = x.shape[-2:]
    to_unit = x.new_tensor([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])
    below = x.new_tensor([0, 0, 1]).expand(len(x), 1, 3)
    theta = to_unit @ torch.cat([inverse.to(x), below], 1) @ torch.linalg.inv(to_unit)
    grid = F.affine_grid(theta[:, :2], list(x.shape), align_corners=False)
    return F.grid_sample(x - fill, grid, mode=interpolation, padding_mode="zeros", align_corners=False) + fill


def rotation(degrees: Tensor, height: int, width: int) -> Tensor:
    """The inverse map of turning images counterclockwise about their centre."""
    degrees = degrees.to(torch.promote_types(degrees.dtype, torch.float32))
    angle, centre = degrees.deg2rad(), degrees.new_tensor([width / 2, height / 2])
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    return torch.cat([turn, (centre - turn @ centre)[..., None]], -1)


def affine(n: int, like: Tensor, **entries: Tensor) -> Tensor:
    """The identity map, n times, with entries of A = [[a, b], [c, d]] and t = (x, y) replaced by one number each."""
    place = {"a": (0, 0), "b": (0, 1), "x": (0, 2), "c": (1, 0), "d": (1, 1), "y": (1, 2)}
    inverse = torch.eye(2, 3, dtype=like.dtype, device=like.device).repeat(n, 1, 1)
    for name, value in entries.items():
        inverse[:, place[name][0], place[name][1]] = value.to(like)
    return inverse
