"""The slopes for the native route, functions of numbers; and a loss that is native as a whole."""

import numpy as np
import torch

from diffeq_peers.workloads import ATOL, RTOL
from torchflux_diffeq import Dopri5, native_odeint
from torchflux_zygote import native

DOPRI5 = Dopri5()


@native
def lotka_volterra(t, y, p):
    """Predators and prey."""
    x, z = y[0], y[1]
    return p[0] * x - p[1] * x * z, -p[2] * z + p[3] * x * z


@native
def van_der_pol(t, y, mu):
    """An oscillator with its stiffness."""
    x, v = y[0], y[1]
    return v, mu * (1 - x * x) * v - x


def lotka_volterra_fit(w):
    """Loss and gradient without PyTorch, the solution in them."""
    y0, ts = w.y0.reshape(-1, 2).numpy(), w.ts.numpy()
    wanted = w.data.reshape(len(ts), -1, 2).numpy()

    @native(mode="reverse")
    def loss(p):
        total = 0.0
        for s in range(y0.shape[0]):
            begin = y0[s, 0], y0[s, 1]
            ys = native_odeint(lotka_volterra, begin, ts, p, solver=DOPRI5, rtol=RTOL, atol=ATOL)
            total += np.sum((ys - wanted[:, s]) ** 2)
        return total / wanted.size

    def call():
        value, (slopes,) = loss.withgradient(tuple(w.model.p.tolist()))
        return [torch.tensor(value), torch.tensor(slopes, dtype=torch.float64)]

    return call
