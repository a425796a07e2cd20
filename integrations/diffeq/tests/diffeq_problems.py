"""Problems with solutions that are known."""

import torch

DTYPE = torch.float64


def lotka_volterra(t, y, p):
    """Predators and prey; two numbers, in the last axis."""
    x, z = y[..., 0], y[..., 1]
    return torch.stack((p[0] * x - p[1] * x * z, -p[2] * z + p[3] * x * z), -1)


def van_der_pol(t, y, mu):
    """The oscillator; stiff for large `mu`, which is one number or one for each sample."""
    x, v = y[..., 0], y[..., 1]
    return torch.stack((v, mu * (1 - x * x) * v - x), -1)


def turning(t, y, args):
    """A rotation whose speed grows with the time: the angle is t + t^2 / 2."""
    return (1 + t) * torch.stack((-y[..., 1], y[..., 0]), -1)


def turned(t):
    """Its solution from (1, 0)."""
    angle = t + t * t / 2
    return torch.stack((torch.cos(angle), torch.sin(angle)), -1)


def tensor(*values):
    return torch.tensor(values, dtype=DTYPE)


RATES = (1.5, 1.0, 3.0, 1.0)
