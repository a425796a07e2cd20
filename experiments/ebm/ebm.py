"""An energy-based model of handwritten digits, trained with persistent Langevin chains.

A network says how improbable an image is: p(x) ∝ exp -F(x), F its free energy. The slope of the likelihood lowers F
where the data are and raises it where the model's own samples are. Those come of chains that never start again: a few
transitions of MALA, a step of the weights, and on from there with the density as it now is. Nobody knows the constant
of p, and nothing here needs it.

The images are seen through normal noise of a known σ, which a sample loses again by the mean of what it may have been,
x - σ² ∇F(x) (Robbins, 1956; Saremi & Hyvärinen, 2019).
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from picture import draw
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch.nn.functional import silu
from tqdm import tqdm

from torchflux import Adam, Chain, Dense, adjust, back, trainables
from torchflux_lab import Checkpoint, Metrics
from torchflux_mcmc import mala, repeat

# Of a reproduction: chains of another processor are other samples of the same energies.
TOLERANCES = {"looks": None, "spread*chains*": 0.4, "*": 0.1}


@dataclass
class Parameters:
    seed: int = 0
    σ: float = field(default=0.2, metadata={"help": "of the noise, as a share of full ink"})
    hidden: int = 128
    chains: int = field(default=100, metadata={"help": "and images in a batch"})
    steps: int = field(default=5000, metadata={"help": "of the weights"})
    transitions: int = field(default=10, metadata={"help": "of the chains between two steps of the weights"})
    acceptance: float = field(default=0.57, metadata={"help": "at which MALA's step size aims"})
    rate: float = field(default=0.001, metadata={"help": "of Adam, at first; it falls to zero"})
    long: int = field(default=5000, metadata={"help": "transitions of the chains after the training"})
    train: int = field(default=1400, metadata={"help": "images; the other ones of 1,797 are held out"})
    every: int = field(default=50, metadata={"help": "steps between two looks"})


IMAGES = torch.tensor(load_digits().images).float().view(-1, 64) / 16  # (1797, 64)


class Data:
    """The digits in random order, and what isn't a digit; all but the uniform noise seen through normal noise."""

    def __init__(self, p):
        self.σ, self.rng = p.σ, torch.Generator().manual_seed(p.seed)
        order = torch.randperm(len(IMAGES), generator=self.rng)
        self.train, held_out = IMAGES[order[: p.train]], IMAGES[order[p.train :]]
        self.seen, self.held_out = self.noisy(self.train), self.noisy(held_out)
        self.others = {
            "noise": torch.rand(held_out.shape, generator=self.rng),
            "scrambled": self.noisy(self.permuted(held_out)),  # the ink of a digit, each image in an order of its own
            "mixed": self.noisy(self.permuted(held_out.T).T),  # each pixel from another digit's same place
        }

    def noisy(self, x):
        return x + self.σ * torch.randn(x.shape, generator=self.rng)

    def permuted(self, rows):
        return rows.gather(1, torch.rand(rows.shape, generator=self.rng).argsort(1))

    def batch(self, n):
        return self.noisy(self.train[torch.randint(len(self.train), (n,), generator=self.rng)])


class FreeEnergy:
    """A normal density about the digits' mean with the noise's variance, bent by a network; (n, 64) to (n,)."""

    def __init__(self, mean, p):
        torch.manual_seed(p.seed)
        self.mean, self.σ = mean, p.σ
        self.net = Chain(Dense(64, p.hidden, silu), Dense(p.hidden, p.hidden, silu), Dense(p.hidden, 1), torch.ravel)

    def __call__(self, x):
        z = (x - self.mean) / self.σ
        return z.square().sum(1) / 2 + self.net(z)

    def clean(self, x):
        """The means of the images that may lie behind noisy ones."""
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self(x).sum(), x)
        return (x - self.σ**2 * slope).detach()


def train(F, data, p, out):
    """The sampler and its chains at the end, and what was seen: (step, free energies of held-out digits and chains)."""
    opt = Adam(trainables(F.net), p.rate, beta=(0.5, 0.99))
    alg = mala(lambda x: -F(x), step_size=p.σ, batched=True)
    now = SimpleNamespace(chains=alg.init(data.noisy(F.mean.expand(p.chains, -1)), chains=True), size=p.σ, looks=[])
    metrics, checkpoint = Metrics(out), Checkpoint(out, "training", net=F.net, opt=opt, rng=data.rng, now=now)
    for step in (bar := tqdm(checkpoint.steps(range(1, p.steps + 1), p.every), unit="step")):
        alg = replace(alg, step_size=now.size)
        now.chains, info = repeat(alg, p.transitions).step(data.rng, now.chains)  # of the density as it now is
        miss = info.acceptance_rate.mean().item() - p.acceptance
        now.size *= math.exp(miss / 10)
        back(F(data.batch(p.chains)).mean() - F(now.chains.position).mean())
        adjust(opt, p.rate * (1 + math.cos(math.pi * step / p.steps)) / 2)
        opt()
        if step % p.every == 0:
            with torch.no_grad():
                digits, chains = F(data.held_out).mean().item(), F(now.chains.position).mean().item()
            now.looks.append((step, digits, chains))
            metrics(step=step, of="held-out digits", free_energy=digits)
            metrics(step=step, of="chains", free_energy=chains)
            bar.set_postfix(digits=f"{digits:.1f}", chains=f"{chains:.1f}")
    return replace(alg, step_size=now.size), now.chains, now.looks


def separation(F, data):
    """Area under the ROC curve: how often a held-out digit has a lower F than something else, by what that is."""
    with torch.no_grad():
        digits = F(data.held_out)
        values = {name: torch.cat([digits, F(other)]) for name, other in data.others.items()}
    labels = torch.arange(2).repeat_interleave(len(digits))
    return {name: float(roc_auc_score(labels, x)) for name, x in values.items()}


def normal_density(data):
    """For comparison: the free energy of the normal density with the digits' mean and covariance."""
    mean, precision = data.seen.mean(0), torch.linalg.inv(torch.cov(data.seen.T))
    return lambda x: ((x - mean) @ precision * (x - mean)).sum(1) / 2


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    data = Data(p)
    F = FreeEnergy(data.train.mean(0), p)
    alg, state, looks = train(F, data, p, out)
    with torch.no_grad():
        energies = {"training digits": F(data.seen), "held-out digits": F(data.held_out), "chains": F(state.position)}
    later = SimpleNamespace(chains=state, rates=[])
    checkpoint = Checkpoint(out, "long after", rng=data.rng, later=later)
    for _ in tqdm(checkpoint.steps(p.long // p.transitions, p.every), unit="step", desc="chains go on"):
        later.chains, info = repeat(alg, p.transitions).step(data.rng, later.chains)
        later.rates.append(info.acceptance_rate.mean().item())
    with torch.no_grad():
        energies["chains, long after"] = F(later.chains.position)
        others = {name: F(x) for name, x in data.others.items()}
    samples = {"held out": data.held_out, "chains": state.position, "long after": later.chains.position}
    draw({name: F.clean(x[:32]) for name, x in samples.items()}, looks, energies | others, out / "ebm.png")
    torch.set_num_threads(torch_threads)
    moved = (F.clean(later.chains.position) - F.clean(state.position)).square().mean().sqrt().item()
    return {
        "separation": separation(F, data),
        "separation by a normal density": separation(normal_density(data), data),
        "free energy": {name: x.mean().item() for name, x in (energies | others).items()},
        "spread of the free energy": {name: x.std().item() for name, x in (energies | others).items()},
        "sampler": {"step size": alg.step_size, "acceptance": float(np.mean(later.rates)), "moved": moved},
        "looks": looks,
    }


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    for name in list(results)[:-1]:
        print(name, *(f"    {what:20} {x:.3f}" for what, x in results[name].items()), sep="\n")
