"""What is measured: the true diffusivity, its solution by differences, and how well it could be known at best."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

RATE = 0.5


def diffusivity(x: Tensor) -> Tensor:
    """D(x), of the shape of x: a bump, as the reaction rate in DeepXDE's example is one."""
    return 0.05 + 0.1 * torch.exp(-(((x - 0.5) / 0.15) ** 2) / 2)


def beginning(x: Tensor) -> Tensor:
    """u(x, 0), of the shape of x."""
    return torch.sin(math.pi * x) + 0.5 * torch.sin(2 * math.pi * x)


def solution(
    t: Tensor, n: int = 1000, diffusivity: Callable[[Tensor], Tensor] = diffusivity, rate: Tensor | float = RATE
) -> tuple[Tensor, Tensor]:
    """x (n + 1,) and u (n + 1, times): central differences in space, whose eigenvectors solve them exactly in time."""
    x = torch.linspace(0, 1, n + 1, dtype=torch.float64)
    flow = n**2 * diffusivity((x[1:] + x[:-1]) / 2)
    matrix = torch.diag(-flow[1:] - flow[:-1]) + torch.diag(flow[1:-1], 1) + torch.diag(flow[1:-1], -1)
    growth, modes = torch.linalg.eigh(matrix)
    parts = modes.T @ beginning(x[1:-1])
    return x, pad(modes @ (parts[:, None] * torch.exp((growth[:, None] - rate) * t)), (0, 0, 1, 1))


def bound(places: Tensor, t: Tensor, noise: float, knots: int = 11) -> tuple[Tensor, Tensor, Tensor]:
    """What unbiased estimates deviate at least, from measurements at `places` of 0 to 200 (m,) and times t.

    **Returns:** the standard deviation of the rate; knots (k,) and those of D there, where D is the true one with a
    piecewise linear deviation. The more knots, the larger they are.

    Source: Cramér (1946), Mathematical Methods of Statistics, chapter 32.
    """
    at, h = torch.linspace(0, 1, knots, dtype=torch.float64), 1e-5

    def measured(change: Tensor) -> Tensor:
        hats = lambda x: (1 - (knots - 1) * (x[:, None] - at).abs()).clamp(min=0)
        return solution(t, 200, lambda x: diffusivity(x) + hats(x) @ change[1:], RATE + change[0])[1][places].flatten()

    changes = h * torch.eye(knots + 1, dtype=torch.float64)
    slopes = torch.stack([(measured(change) - measured(-change)) / (2 * h) for change in changes]) / noise
    deviations = torch.linalg.inv(slopes @ slopes.T).diagonal().sqrt()
    return deviations[0], at, deviations[1:]
