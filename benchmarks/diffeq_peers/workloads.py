"""What all peers solve. Tolerances 1e-6 and 1e-8, float64; the loss is a mean over all saved times and samples."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

RTOL, ATOL = 1e-6, 1e-8
RATES = (1.4, 1.05, 2.9, 1.1)


@dataclass
class Workload:
    """A model `f(t, y)`, first states (samples, n) or (n,), times, and what the solution is compared with."""

    title: str
    model: nn.Module
    y0: torch.Tensor
    ts: torch.Tensor
    data: torch.Tensor
    absolute: bool = False
    max_steps: int = 4096

    @property
    def batched(self):
        return self.y0.dim() == 2

    def loss(self, ys):
        difference = ys - self.data
        return (difference.abs() if self.absolute else difference.square()).mean()

    def gradient(self, ys):
        """The loss and its gradient by the model's parameters, by backpropagation."""
        loss = self.loss(ys)
        return [loss, *torch.autograd.grad(loss, list(self.model.parameters()))]


class LotkaVolterra(nn.Module):
    """Predators and prey, for any number of samples."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.tensor(RATES, dtype=torch.float64))

    def forward(self, t, y, args=None):
        x, z = y[..., 0], y[..., 1]
        p = self.p
        return torch.stack((p[0] * x - p[1] * x * z, -p[2] * z + p[3] * x * z), -1)


class Network(nn.Module):
    """torchdiffeq's demonstration: a network of the state's cubes."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2)).double()
        for layer in (self.net[0], self.net[2]):
            nn.init.normal_(layer.weight, 0.0, 0.1)
            nn.init.zeros_(layer.bias)

    def forward(self, t, y, args=None):
        return self.net(y**3)


class VanDerPol(nn.Module):
    """Oscillators with a stiffness each."""

    def __init__(self, mu):
        super().__init__()
        self.mu = nn.Parameter(mu)

    def forward(self, t, y, args=None):
        x, v = y[..., 0], y[..., 1]
        return torch.stack((v, self.mu * (1 - x * x) * v - x), -1)


def lotka_volterra(samples):
    """100 times up to t = 10; one sample without an axis for it."""
    rng = np.random.default_rng(0)
    y0 = torch.tensor(rng.uniform(0.5, 2.0, (256, 2)))
    ts = torch.linspace(0.0, 10.0, 100, dtype=torch.float64)
    title = "Lotka-Volterra" + (f", {samples} samples" if samples > 1 else "")
    y0 = y0[:samples] if samples > 1 else y0[0]
    return Workload(title, LotkaVolterra(), y0, ts, torch.ones(100, *y0.shape, dtype=torch.float64))


def neural_ode():
    """A training step of the spiral: 20 pieces of 10 points."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    y0 = torch.tensor(rng.uniform(-2.0, 2.0, (20, 2)))
    ts = torch.linspace(0.0, 25.0, 1000, dtype=torch.float64)[:10].clone()
    return Workload("Neural ODE, 20 samples", Network(), y0, ts, 0.9 * y0.expand(10, 20, 2), absolute=True)


def stiff_batch():
    """Fifteen easy oscillators and a stiff one; the parameter is each one's stiffness."""
    mu = torch.ones(16, dtype=torch.float64)
    mu[-1] = 50.0
    y0 = torch.tensor([2.0, 0.0], dtype=torch.float64).expand(16, 2).clone()
    ts = torch.linspace(0.0, 10.0, 11, dtype=torch.float64)
    data = torch.zeros(11, 16, 2, dtype=torch.float64)
    return Workload("Van der Pol, 15 easy samples and a stiff one", VanDerPol(mu), y0, ts, data, max_steps=2**14)
