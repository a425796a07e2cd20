"""Monte Carlo EM: latents are sampled while the weights train, and the maximum of the likelihood is known.

Probabilistic PCA says that an image is x = W z + μ + σ ε, where z, of a few numbers, and ε are standard normal. Tipping
and Bishop give the W, μ and σ of the greatest likelihood in closed form. The loop here doesn't know that: each of 1,797
handwritten digits has a chain of its own, whose latents take a step of HMC; then the weights take a step up the slope
of log p(x, z). Two ways to find the latents:

    sampled  one transition of HMC from where the chain stood, for the weights as they now are
    modes    for comparison, the most probable latents: then the likelihood of both is climbed, not that of the weights
"""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import torch
from picture import draw
from sklearn.datasets import load_digits
from torch.distributions import MultivariateNormal
from tqdm import tqdm

from torchflux import Adam, adjust, back
from torchflux_lab import Checkpoint, Metrics
from torchflux_mcmc import hmc

# Of a reproduction: three deviations of the seeds, as another processor samples otherwise.
TOLERANCES = {
    "closed form.*": 1e-6,
    "sampled.gap": (0, 0.5),
    "sampled.noise": (0, 5e-4),
    "sampled.angle": (0, 0.15),
    "sampled.*": None,
    "modes.*": 0.05,
}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "the first of the seeds"})
    seeds: int = field(default=5, metadata={"help": "how many runs stand behind each number"})
    latents: int = field(default=10, metadata={"help": "numbers that describe an image"})
    steps: int = field(default=1500, metadata={"help": "of the weights, and of each chain"})
    leapfrogs: int = field(default=4, metadata={"help": "in a transition of HMC"})
    acceptance: float = field(default=0.8, metadata={"help": "at which HMC's step size aims"})
    rate: float = field(default=0.02, metadata={"help": "of Adam, at first; it falls to zero"})
    every: int = field(default=25, metadata={"help": "steps between two looks at the likelihood"})


X = torch.tensor(load_digits().images).view(-1, 64) / 16  # (1797, 64)
N, D = X.shape


class Model:
    """x = W z + μ + σ ε."""

    def __init__(self, W, μ, log_σ):
        self.W, self.μ, self.log_σ = self.weights = W, μ, log_σ

    def logdensity(self, z):
        """log p(x, z) of every image with its own latents z (N, q), up to a constant."""
        errors = (X - self.μ - z @ self.W.T).square().sum(1)
        return -errors / (2 * self.log_σ.exp() ** 2) - D * self.log_σ - z.square().sum(1) / 2

    def loglikelihood(self):
        """log p(x) of all images, the latents integrated out."""
        covariance = self.W @ self.W.T + self.log_σ.exp() ** 2 * torch.eye(D).to(X)
        return MultivariateNormal(self.μ, covariance).log_prob(X).sum()

    def modes(self):
        """The most probable latents of every image, which are their means too."""
        precision = self.W.T @ self.W + self.log_σ.exp() ** 2 * torch.eye(self.W.shape[1]).to(X)
        return torch.linalg.solve(precision, self.W.T @ (X - self.μ).T).T

    def angle(self, other):
        """The largest angle between the spaces that the columns of two models' W span, in degrees."""
        (a, _), (b, _) = torch.linalg.qr(self.W), torch.linalg.qr(other.W)
        return math.degrees(torch.linalg.matrix_norm(a - b @ (b.T @ a), 2).clamp(max=1).asin().item())


def closed_form(q):
    """The maximum of the likelihood (Tipping & Bishop, 1999, eq. 7 and 8), and the modes' limit of σ²."""
    values, vectors = torch.linalg.eigh(torch.cov(X.T, correction=0))  # in ascending order
    variance = values[:-q].mean()
    W = vectors[:, -q:] * (values[-q:] - variance).sqrt()
    return Model(W.flip(1), X.mean(0), variance.log() / 2), values[:-q].sum().item() / D


def train(name, seed, p, best, bar, out):
    """The model at the end, and what was seen on the way: (gap of the likelihood, σ²)."""
    rng = torch.Generator().manual_seed(seed)
    W = 0.1 * torch.randn(D, p.latents, generator=rng, dtype=X.dtype)
    model = Model(*(w.requires_grad_() for w in (W, torch.zeros(D, dtype=X.dtype), torch.zeros((), dtype=X.dtype))))
    opt = Adam(model.weights, p.rate)
    alg = hmc(model.logdensity, num_integration_steps=p.leapfrogs, batched=True)
    chains = alg.init(torch.randn(N, p.latents, generator=rng, dtype=X.dtype), chains=True)
    now = SimpleNamespace(chains=chains, size=0.5, looks=[])
    checkpoint = Checkpoint(out, f"{name} {seed}", weights=list(model.weights), opt=opt, rng=rng, now=now)
    metrics = Metrics(out, run=f"{name} {seed}")
    for step in checkpoint.steps(p.steps, p.every):
        if name == "sampled":
            jitter = 0.5 + torch.rand(
                N, generator=rng, dtype=X.dtype
            )  # or trajectories of a full turn lead back to where they began
            now.chains, info = replace(alg, step_size=now.size * jitter).step(rng, now.chains)  # density as it now is
            now.size *= math.exp((info.acceptance_rate.mean().item() - p.acceptance) / 5)
            z = now.chains.position
        else:
            z = model.modes().detach()
        back(-model.logdensity(z).mean())
        adjust(opt, p.rate * (1 + math.cos(math.pi * step / p.steps)) / 2)
        opt()
        bar.update()
        if step % p.every == p.every - 1:
            with torch.no_grad():
                gap, variance = (best - model.loglikelihood()).item(), model.log_σ.exp().item() ** 2
            now.looks.append((gap, variance))
            metrics(step=step + 1, gap=gap, variance=variance)
            bar.set_postfix(gap=f"{gap:.2f}")
    return model, now.looks


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    answer, limit = closed_form(p.latents)
    best, runs = answer.loglikelihood(), {"sampled": [], "modes": []}
    with tqdm(total=2 * p.seeds * p.steps, unit="step") as bar:
        for name, done in runs.items():
            bar.set_description(name)
            done += [train(name, p.seed + i, p, best, bar, out) for i in range(p.seeds)]
    torch.set_num_threads(torch_threads)
    σ2 = answer.log_σ.exp().item() ** 2
    draw(answer.W, runs, σ2, limit, p, out / "mcem.png")
    free = D * p.latents - p.latents * (p.latents - 1) // 2 + D + 1  # W counts up to a rotation
    known = {"loglikelihood": best.item(), "noise": σ2, "noise of modes": limit, "half of the free numbers": free / 2}
    return {"closed form": known} | {name: summary(done, answer, σ2) for name, done in runs.items()}


def summary(done, answer, σ2):
    """Distances from the closed form, as a mean and a standard deviation of the seeds."""
    distances = {
        "gap": [looks[-1][0] for _, looks in done],  # in nats, of all images together
        "noise": [looks[-1][1] / σ2 - 1 for _, looks in done],  # of σ², as a share
        "angle": [model.angle(answer) for model, _ in done],  # in degrees
        "mean": [(model.μ - answer.μ).norm().item() for model, _ in done],
    }
    table = {name: torch.tensor(x, dtype=torch.float64) for name, x in distances.items()}
    numbers = {name: x.mean().item() for name, x in table.items()}
    return numbers | {f"{name}_std": x.std(correction=0).item() for name, x in table.items()} | {"runs": distances}


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    for name in ("sampled", "modes"):
        row = results[name]
        print(f"{name:8} gap {row['gap']:.2f} ± {row['gap_std']:.2f} nats", end="   ")
        print(
            f"noise {row['noise']:+.2%} ± {row['noise_std']:.2%}   angle {row['angle']:.2f} ± {row['angle_std']:.2f}°"
        )
