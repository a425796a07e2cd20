"""The lynx and the hare: Lotka-Volterra and a universal differential equation forecast the pelts of 1900-1920.

u hares and v lynx, in thousands of pelts, with errors that are log-normal:

    Lotka-Volterra    u' = α u - β u v              v' = -γ v + δ u v
    universal         u' = α u - β u v exp n₁(u, v)    v' = -γ v + δ u v exp n₂(u, v)

The interaction of the universal equation is unknown: a network (n₁, n₂) of both numbers, which at zero leaves it that
of Lotka and Volterra. How far it may go says a prior: its last weights are normal with a standard deviation s. Each
model sees the years up to an origin, forecasts the next, and is compared with what came. All origins, priors and
seeds are samples of one batch, with parameters of their own: one `solve`, one gradient, all trainings at once.
"""

import math
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import torch
from picture import draw
from tqdm import tqdm

from torchflux import Adam, adjust, back
from torchflux_diffeq import PID, per_sample, solve
from torchflux_lab import Checkpoint, Metrics

# Of a reproduction: everything is float64, and found by least squares.
TOLERANCES = {"*": 1e-6}


@dataclass
class Parameters:
    seed: int = 0
    origins: tuple[int, ...] = field(default=tuple(range(1910, 1917)), metadata={"help": "the last years seen"})
    shown: int = field(default=1914, metadata={"help": "the origin in the picture"})
    horizon: int = field(default=4, metadata={"help": "years that are forecast from each origin"})
    priors: tuple[float, ...] = field(default=(0.01, 0.1, 1.0), metadata={"help": "standard deviations s of weights"})
    seeds: int = field(default=3, metadata={"help": "networks for each origin and prior"})
    starts: int = field(default=8, metadata={"help": "first guesses for each fit of Lotka-Volterra"})
    hidden: int = 8
    steps: int = 300
    rate: float = 0.05
    rtol: float = 1e-5
    atol: float = 1e-6

    def __post_init__(self):
        if not all(1909 <= origin <= 1920 - self.horizon for origin in self.origins):
            raise ValueError(f"origins={self.origins}: forecasts, and what was ten years before, are in 1900-1920")
        if self.shown not in self.origins:
            raise ValueError(f"shown={self.shown} is no origin: choose one of {self.origins}")


TABLE = np.genfromtxt(Path(__file__).with_name("pelts.csv"), delimiter=",", skip_header=4)
YEARS = torch.tensor(TABLE[:, 0])
PELTS = torch.tensor(TABLE[:, [2, 1]]).log()  # (years, 2): hares, lynx
CENTRE, SPREAD = PELTS.mean(), PELTS.std()
MOMENTS = torch.linspace(1900, 1920, 201, dtype=torch.float64)  # of which every tenth is a year
CARPENTER = (0.55, 0.028, 0.80, 0.024)  # posterior means of α, β, γ, δ, all years

# The equations, for the logarithms z = (log u, log v) of n samples, (n, 2).


def lotka_volterra(t, z, rates):
    u, v = z.exp().unbind(-1)
    α, β, γ, δ = rates.exp().unbind(-1)
    return torch.stack([α - β * v, -γ + δ * u], -1)


def universal(t, z, args):
    rates, *network = args
    u, v = z.exp().unbind(-1)
    α, β, γ, δ = rates.exp().unbind(-1)
    n1, n2 = interaction(z, *network).unbind(-1)
    return torch.stack([α - β * v * n1.exp(), -γ + δ * u * n2.exp()], -1)


def interaction(z, w1, b1, w2, b2):
    """A network for each sample: w1 (n, hidden, 2), w2 (n, 2, hidden)."""
    hidden = torch.tanh(torch.einsum("nhi,ni->nh", w1, (z - CENTRE) / SPREAD) + b1)
    return torch.einsum("noh,nh->no", w2, hidden) + b2


def trajectories(f, start, args, p, times=YEARS):
    """From start (n, 2) in 1900 on, (times, n, 2)."""
    args = tuple(map(per_sample, args)) if isinstance(args, list) else per_sample(args)
    return solve(f, start, times, args, batched=True, controller=PID(p.rtol, p.atol)).ys


def squares(ys, last):
    """The sum of squared errors up to the last year that each sample has seen, (n,)."""
    seen = YEARS[:, None] <= last  # (years, n)
    return ((ys - PELTS[:, None]) ** 2).sum(-1).mul(seen).sum(0)


def descend(loss, x, p, name, out):
    """Adam, with a rate that falls to zero. Every sample has a loss of its own: their sum trains each by itself."""
    opt = Adam(x, p.rate)
    metrics, checkpoint = Metrics(out, model=name), Checkpoint(out, name, x=x, opt=opt)
    for step in tqdm(checkpoint.steps(p.steps, every=20), desc=f"{name:15}", unit="step"):
        total = loss().sum()
        back(total)
        metrics(step=step, loss=total)
        adjust(opt, p.rate * (1 + math.cos(math.pi * step / p.steps)) / 2)
        opt()


def fit_lotka_volterra(last, p, out):
    """Maximum likelihood from several starts, of which the best is kept: rates (n, 4), first state (n, 2), σ (n,)."""
    rng = torch.Generator().manual_seed(p.seed)
    many, guess = len(last) * p.starts, torch.tensor([1.0, 0.05, 1.0, 0.05], dtype=torch.float64).log()
    spread = 0.5 * torch.randn(many, 4, generator=rng, dtype=torch.float64)
    rates, start = (guess + spread).requires_grad_(), PELTS[0].repeat(many, 1).requires_grad_()
    repeated = last.repeat_interleave(p.starts)
    loss = lambda: squares(trajectories(lotka_volterra, start, rates, p), repeated)
    descend(loss, [rates, start], p, "Lotka-Volterra", out)
    with torch.no_grad():
        left = loss()
        best = left.view(-1, p.starts).argmin(1) + p.starts * torch.arange(len(last))
    count = 2 * (last - YEARS[0] + 1)
    return rates.detach()[best], start.detach()[best], (left[best] / count).sqrt()


def fit_universal(last, scale, rates0, start, σ, p, out):
    """The most probable network, rates and first state, for samples with priors of their own, all (n,)."""
    rng, n = torch.Generator().manual_seed(p.seed), len(last)
    normal = lambda *shape: torch.randn(n, *shape, generator=rng, dtype=torch.float64)
    w1, b1, w2, b2 = normal(p.hidden, 2), normal(p.hidden), 0 * normal(2, p.hidden), 0 * normal(2)
    rates, start = rates0.clone(), start.clone()
    x = [part.requires_grad_() for part in (start, rates, w1, b1, w2, b2)]

    def loss():  # the negative logarithm of the posterior
        prior = w1.square().sum((1, 2)) + b1.square().sum(1) + (w2.square().sum((1, 2)) + b2.square().sum(1)) / scale**2
        prior = prior + ((rates - rates0) / 0.5).square().sum(1)
        return (squares(trajectories(universal, x[0], x[1:], p), last) / σ**2 + prior) / 2

    descend(loss, x, p, "universal", out)
    return [part.detach() for part in x]


def baselines(p):
    """What a forecast has to beat, (years, origins, 1, 2): the record ten years before, and the mean of those seen."""
    means = torch.stack([PELTS[origin >= YEARS].mean(0) for origin in p.origins])
    pair = PELTS.roll(10, 0)[:, None], means.expand(len(YEARS), -1, -1)
    return zip(("as ten years ago", "as on average"), (ys[:, :, None] for ys in pair), strict=True)


def deviations(ys, years):
    """Root mean square errors of logarithms ys (years, origins, seeds, 2) in some years, a mask (years, origins)."""
    squared = (ys - PELTS[:, None, None]).square().mean(-1).expand(-1, years.shape[1], -1)
    return ((squared * years[..., None]).sum(0) / years.sum(0)[:, None]).sqrt()  # (origins, seeds)


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    last = torch.tensor([*p.origins, YEARS[-1]], dtype=torch.float64)  # the last fit sees all years
    rates, start, σ = fit_lotka_volterra(last, p, out)
    cases = list(product(p.priors, range(len(p.origins)), range(p.seeds)))
    scale, which, _ = (torch.tensor(part) for part in zip(*cases, strict=True))
    network = fit_universal(last[which], scale, rates[which], start[which], σ[which], p, out)
    with torch.no_grad():
        plain = trajectories(lotka_volterra, start, rates, p, MOMENTS)  # (moments, origins + 1, 2)
        free = trajectories(universal, network[0], network[1:], p, MOMENTS)
    torch.set_num_threads(torch_threads)
    free = free.view(len(MOMENTS), len(p.priors), len(p.origins), p.seeds, 2)
    models = {"Lotka-Volterra": plain[:, :-1, None]}  # (moments, origins, seeds, 2) each
    models |= {f"universal, s = {s:g}": free[:, i] for i, s in enumerate(p.priors)}
    ahead = YEARS[:, None] - last[:-1]  # (years, origins)
    future = (ahead > 0) & (ahead <= p.horizon)
    seen = {name: deviations(ys[::10], ahead <= 0) for name, ys in models.items()}
    forecast = {name: deviations(ys[::10], future) for name, ys in models.items()}
    forecast |= {name: deviations(ys, future) for name, ys in baselines(p)}
    draw(MOMENTS, YEARS, PELTS, models, forecast, p, out / "lynx-hare.png")
    fitted = [*rates[-1].exp().tolist(), σ[-1].item()]
    return {
        "errors of forecasts": {name: error.mean().item() for name, error in forecast.items()},
        "errors of years seen": {name: error.mean().item() for name, error in seen.items()},
        "errors by origin": {name: error.tolist() for name, error in forecast.items()},  # and seed
        "rates of all years": dict(zip("αβγδσ", fitted, strict=True)),
        "Carpenter's posterior means": dict(zip("αβγδ", CARPENTER, strict=True)),
    }


if __name__ == "__main__":
    for what, numbers in main(Parameters(), Path(__file__).parent).items():
        if what != "errors by origin":
            print(what, *(f"    {name:20} {x:.3f}" for name, x in numbers.items()), sep="\n")
