"""Two solitons of u_t + 6 u u_x + u_xxx = 0, and by how much they push one another along."""

import torch

LOW, TALL = 1.0, 2.0  # the wave numbers k: a soliton's height is k²/2, its speed k²


def exact(x, t):
    """u(x, t), all (n,): Hirota's 2 (log f)_xx. Here f = cosh (a+b)/2 + r cosh (a-b)/2, and a, b = k (x - k² t)."""
    a, b = (k * (x - k**2 * t) for k in (TALL, LOW))
    plus, minus, r = (TALL + LOW) / 2, (TALL - LOW) / 2, (TALL + LOW) / (TALL - LOW)
    f = torch.cosh((a + b) / 2) + r * torch.cosh((a - b) / 2)
    f_x = plus * torch.sinh((a + b) / 2) + r * minus * torch.sinh((a - b) / 2)
    f_xx = plus**2 * torch.cosh((a + b) / 2) + r * minus**2 * torch.cosh((a - b) / 2)
    return 2 * (f_xx / f - (f_x / f) ** 2)


def crests(x, u):
    """The places in u (n,), at x (n,), of the tall soliton and of the low one, which is at least 3 away."""
    tall = crest(x, u)
    return tall, crest(x, torch.where((x - tall).abs() > 3, u, -1))


def crest(x, u):
    """The place of the largest value, by a parabola through it and its neighbours."""
    k = u[1:-1].argmax() + 1
    before, here, after = u[k - 1], u[k], u[k + 1]
    return (x[k] + (x[1] - x[0]) * (before - after) / (before - 2 * here + after) / 2).item()


def gained(x, t, u):
    """How far ahead of where their speeds alone take them the two solitons of u (m, n) end, at x (m,) and t (n,)."""
    begun, ended = crests(x, u[:, 0]), crests(x, u[:, -1])
    span = (t[-1] - t[0]).item()
    tall, low = (b - a - k**2 * span for a, b, k in zip(begun, ended, (TALL, LOW), strict=True))
    return {"tall": tall, "low": low}
