"""Lotka-Volterra's loss and gradient as one would write it by hand in Numba, for this problem alone.

Dormand and Prince's method, with the tolerances and times of the peers. Beside the two numbers of the state go their
derivatives by the four rates (dual numbers). Alone it makes of them loss and gradient, and PyTorch has no part in it;
as an operation of PyTorch it hands over the states, as all peers do, and is asked for the gradient of a loss.

Source: Hairer, Nørsett & Wanner (1993), Solving Ordinary Differential Equations I, II.4 to II.6.
"""

import numpy as np
import torch
from numba import njit

from diffeq_peers.workloads import ATOL, RTOL
from torchflux_diffeq import Dopri5

A, E, D = (np.ascontiguousarray(x) for x in (Dopri5.tableau.a, Dopri5.tableau.error, Dopri5.tableau.dense))
STAGES, WIDTH = 7, 5
"""How many slopes a step has, and how many numbers stand for one of the state's: itself and four derivatives."""


@njit(fastmath=True)
def slope(p, u, k):
    """The slopes of the state and of its derivatives."""
    x, z = u[0, 0], u[1, 0]
    k[0, 0], k[1, 0] = p[0] * x - p[1] * x * z, -p[2] * z + p[3] * x * z
    for w in range(1, WIDTH):
        k[0, w] = (p[0] - p[1] * z) * u[0, w] - p[1] * x * u[1, w]
        k[1, w] = p[3] * z * u[0, w] + (p[3] * x - p[2]) * u[1, w]
    k[0, 1] += x
    k[0, 2] -= x * z
    k[1, 3] -= z
    k[1, 4] += x * z


@njit(fastmath=True)
def stages(p, y, k, u, h):
    """All slopes of a step but the first, and the state at its end in `u`."""
    for s in range(1, STAGES):
        for i in range(2):
            for w in range(WIDTH):
                total = 0.0
                for q in range(s):
                    total += A[s, q] * k[q, i, w]
                u[i, w] = y[i, w] + h * total
        slope(p, u, k[s])


@njit(fastmath=True)
def error_of(y, k, u, h):
    """The error of a step in units of what is tolerated."""
    square = 0.0
    for i in range(2):
        total = 0.0
        for q in range(STAGES):
            total += E[q] * k[q, i, 0]
        square += (h * total / (ATOL + RTOL * max(abs(y[i, 0]), abs(u[i, 0])))) ** 2 / 2
    return square**0.5


@njit(fastmath=True)
def save(y, k, h, x, out):
    """The state at the part `x` of a step, and its derivatives."""
    out[:] = y
    for q in range(STAGES):
        weight = h * x * (D[q, 0] + x * (D[q, 1] + x * (D[q, 2] + x * D[q, 3])))
        for i in range(2):
            for w in range(WIDTH):
                out[i, w] += weight * k[q, i, w]


@njit(fastmath=True)
def solve(p, y0, ts, out):
    """One sample at all times; `out` has the shape (times, 2, WIDTH)."""
    y, u, k = np.zeros((2, WIDTH)), np.zeros((2, WIDTH)), np.zeros((STAGES, 2, WIDTH))
    y[0, 0], y[1, 0] = y0[0], y0[1]
    t, h, j = ts[0], 0.05, 0
    slope(p, y, k[0])
    while j < ts.size:
        h = min(h, ts[-1] - t + 1e-14)
        stages(p, y, k, u, h)
        error = error_of(y, k, u, h)
        if error <= 1.0:
            while j < ts.size and ts[j] <= t + h + 1e-12:
                save(y, k, h, (ts[j] - t) / h, out[j])
                j += 1
            t += h
            y[:], k[0] = u, k[STAGES - 1]
        h *= min(10.0, max(0.2, 0.9 * (error + 1e-16) ** -0.2))


@njit(fastmath=True)
def fits(p, y0, ts, wanted):
    """The loss and its gradient, added up over all samples."""
    sums, out = np.zeros(WIDTH), np.empty((ts.size, 2, WIDTH))
    for s in range(len(y0)):
        solve(p, y0[s], ts, out)
        for j in range(ts.size):
            for i in range(2):
                difference = out[j, i, 0] - wanted[j, s, i]
                sums[0] += difference * difference
                for w in range(1, WIDTH):
                    sums[w] += 2.0 * difference * out[j, i, w]
    return sums / wanted.size


@njit(fastmath=True)
def solutions(p, y0, ts):
    """All samples at all times, shape (times, samples, 2, WIDTH)."""
    out = np.empty((ts.size, len(y0), 2, WIDTH))
    for s in range(len(y0)):
        solve(p, y0[s], ts, out[:, s])
    return out


class Solutions(torch.autograd.Function):
    """The same solutions as an operation of PyTorch, as the peers' are."""

    @staticmethod
    def forward(ctx, p, y0, ts):
        """The states, shape (times, samples, 2)."""
        ctx.all = torch.from_numpy(solutions(p.detach().numpy(), y0, ts))
        return ctx.all[..., 0].clone()

    @staticmethod
    def backward(ctx, grad):
        """The rates' gradient."""
        return grad.reshape(-1) @ ctx.all[..., 1:].reshape(-1, WIDTH - 1), None, None


def peers(w):
    """Loss and gradient of Lotka-Volterra, by name."""
    y0, ts = w.y0.reshape(-1, 2).numpy(), w.ts.numpy()
    wanted = w.data.reshape(len(ts), -1, 2).numpy()

    def alone():
        found = torch.from_numpy(fits(w.model.p.detach().numpy(), y0, ts, wanted))
        return [found[0], found[1:]]

    return {
        "by hand in Numba": alone,
        "by hand, as an operation of PyTorch": lambda: w.gradient(
            Solutions.apply(w.model.p, y0, ts).view(w.data.shape)
        ),
    }
