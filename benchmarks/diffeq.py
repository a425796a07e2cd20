"""Solutions of differential equations with their gradients, against torchdiffeq, side by side in one run.

python benchmarks/diffeq.py [--rounds N] [--threads N]

All peers solve with dopri5 at the same tolerances and hand over loss and gradient; a gradient is compared with that of
a solution at tolerances a thousand times smaller. A ratio under 1 is faster than torchdiffeq's backpropagation.
"""

import argparse

import torch
from timing import alternate, table
from torch import nn
from torchdiffeq import odeint, odeint_adjoint

from torchflux_diffeq import PID, Discrete, Dopri5, per_sample, solve

TIGHT = PID(1e-9, 1e-11)
LOOSE = PID(1e-6, 1e-8)
OPTIONS = {"rtol": 1e-6, "atol": 1e-8, "method": "dopri5"}


class LotkaVolterra(nn.Module):
    """Predators and prey, for any number of samples."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.tensor([1.4, 1.05, 2.9, 1.1], dtype=torch.float64))

    def forward(self, t, y, args=None):
        x, z = y[..., 0], y[..., 1]
        p = self.p
        return torch.stack((p[0] * x - p[1] * x * z, -p[2] * z + p[3] * x * z), -1)


class Network(nn.Module):
    """torchdiffeq's demonstration: a network of the state's cubes."""

    def __init__(self, dtype):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2)).to(dtype)

    def forward(self, t, y, args=None):
        return self.net(y**3)


def loss_and_gradient(model, ys, data):
    loss = (ys - data).abs().square().mean()
    return [loss, *torch.autograd.grad(loss, list(model.parameters()))]


def compare(title, model, y0, ts, data, rounds, batched):
    ours = {
        "torchflux, each sample's steps": {"batched": True},
        "torchflux, shared steps": {},
        "torchflux, shared steps, replayed": {"adjoint": Discrete("tape", replay=True)},
    }
    if not batched:
        ours.pop("torchflux, each sample's steps")
    peers = {
        "torchdiffeq": lambda: loss_and_gradient(model, odeint(model, y0, ts, **OPTIONS), data),
        "torchdiffeq, adjoint": lambda: loss_and_gradient(model, odeint_adjoint(model, y0, ts, **OPTIONS), data),
    }
    for name, options in ours.items():
        peers[name] = lambda options=options: loss_and_gradient(
            model, solve(model, y0, ts, solver=Dopri5(), controller=LOOSE, **options).ys, data
        )
    exact = loss_and_gradient(model, solve(model, y0, ts, solver=Dopri5(), controller=TIGHT).ys, data)
    print(f"\n{title}: largest error of the gradient, relative to its largest number")
    for name, peer in peers.items():
        errors = [((a - b).abs().max() / b.abs().max()).item() for a, b in zip(peer(), exact, strict=True)]
        print(f"  {name}: {max(errors):.0e}")
        assert max(errors) < 1e-2, (name, errors)
    table(title, alternate(peers, rounds), "torchdiffeq")


def van_der_pol(t, y, mu):
    x, v = y[..., 0], y[..., 1]
    return torch.stack((v, mu * (1 - x * x) * v - x), -1)


def stiff_batch():
    """What 15 easy oscillators pay for a stiff one among them."""
    mu = torch.ones(16, dtype=torch.float64)
    mu[-1] = 50.0
    y0, ts = torch.tensor([2.0, 0.0], dtype=torch.float64).expand(16, 2), torch.tensor([0.0, 10.0], dtype=torch.float64)
    calls = [0]

    def shared(t, y):
        calls[0] += 1
        return van_der_pol(t, y, mu)

    odeint(shared, y0, ts, **OPTIONS)
    stats = solve(
        van_der_pol, y0, ts, per_sample(mu), solver=Dopri5(), controller=LOOSE, batched=True, max_steps=10**5
    ).stats
    alone = solve(van_der_pol, y0[0], ts, 1.0, solver=Dopri5(), controller=LOOSE).stats
    print("\n### Fifteen easy oscillators and a stiff one: evaluations for an easy one\n")
    print(f"torchdiffeq {calls[0]}, torchflux {int(stats.evaluations[0])}, alone {alone.evaluations}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {options.threads} thread(s)")
    ts = torch.linspace(0.0, 10.0, 100, dtype=torch.float64)
    y0 = 0.5 + 1.5 * torch.rand(256, 2, dtype=torch.float64)
    model = LotkaVolterra()
    compare("Lotka-Volterra", model, y0[0], ts, torch.ones_like(y0[0]), options.rounds, batched=False)
    compare("Lotka-Volterra, 256 samples", model, y0, ts, torch.ones_like(y0), options.rounds, batched=True)
    network, x0 = Network(torch.float64), torch.randn(20, 2, dtype=torch.float64)
    short = torch.linspace(0.0, 0.225, 10, dtype=torch.float64)
    compare("A neural ODE, 20 samples", network, x0, short, x0.expand(10, 20, 2) * 0.9, options.rounds, batched=True)
    stiff_batch()


if __name__ == "__main__":
    main()
