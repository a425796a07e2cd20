"""Stochastic problems with solutions that are known, given the path."""

import math

import torch
from diffeq_problems import DTYPE

from torchflux_diffeq import SDE, BrownianTree

A, B = 0.8, 0.6
SAMPLES = 500


def ones(samples=SAMPLES, n=1):
    return torch.ones(samples, n, dtype=DTYPE)


def growth(calculus="ito", noise="diagonal"):
    """Geometric Brownian motion."""
    return SDE(lambda t, y, args: A * y, lambda t, y, args: B * y, noise, calculus)


def grown(y0, t, w, calculus="ito"):
    """Its solution (Kloeden & Platen, 1992, 4.4)."""
    return y0 * torch.exp((A - (B * B / 2 if calculus == "ito" else 0.0)) * t + B * w)


def reverting(calculus="ito"):
    """The process of Ornstein & Uhlenbeck, whose noise is additive."""
    return SDE(lambda t, y, args: 1.5 * (0.7 - y), lambda t, y, args: torch.full_like(y, 0.4), calculus=calculus)


def reverted(tree, samples, y0=0.2, steps=4096):
    """Its solution at time 1, by parts: an integral of the path by the time, by the trapezoidal rule."""
    ts = torch.linspace(0.0, 1.0, steps + 1, dtype=DTYPE)
    w = tree(ts, samples)[..., 0]
    weights = torch.ones(steps + 1, dtype=DTYPE)
    weights[[0, -1]] = 0.5
    integral = ((weights * torch.exp(1.5 * (ts - 1)) / steps)[:, None] * w).sum(0)
    return 0.7 + (y0 - 0.7) * math.exp(-1.5) + 0.4 * (w[-1] - 1.5 * integral)


def tree(seed=5, t1=1.0, levels=12):
    """Motions whose grid is coarse enough for tests."""
    return BrownianTree(seed, 0.0, t1, tol=t1 / 2**levels)


def slope(dts, errors):
    """The order of convergence: the slope of the line through all errors."""
    x = torch.tensor(dts, dtype=DTYPE).log()
    y = torch.tensor(errors, dtype=DTYPE).log()
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
