"""A variational autoencoder of handwritten digits, and the likelihood of digits that it hasn't seen.

An encoder says where in a small latent space an image may lie, q(z | x); a decoder what a point of it looks like,
p(x | z). Both learn from one bound on the likelihood, log p(x) ≥ E[log p(x | z)] - KL(q(z | x) ‖ p(z)), with samples
of z through which the gradient flows. A pixel is one of 17 grey levels k, and the decoder tilts the levels' frequencies
there, p(k | z) ∝ frequency(k) exp(a(z) k + b(z) k²). So log p is of the images themselves, and a number to compare.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from picture import draw
from sklearn.datasets import load_digits
from tqdm import tqdm

from torchflux import Adam, Chain, Dense, Dropout, Parallel, adjust, back, gelu, logitcrossentropy, trainables, treelike
from torchflux_lab import Checkpoint, Metrics


@dataclass
class Parameters:
    seed: int = 0
    latents: tuple[int, ...] = field(default=(2, 8), metadata={"help": "sizes of the latent space, a model for each"})
    hidden: int = 128
    train: int = field(default=1400, metadata={"help": "images; the other ones of 1,797 are held out"})
    steps: int = 3000
    warm: int = field(default=500, metadata={"help": "steps in which the weight of the KL divergence goes up to 1"})
    batch: int = 100
    rate: float = field(default=0.002, metadata={"help": "of Adam, at first; it falls to zero"})
    dropout: float = field(default=0.1, metadata={"help": "in the networks, while they learn"})
    samples: int = field(default=500, metadata={"help": "of z for the likelihood of a held-out image"})
    every: int = field(default=100, metadata={"help": "steps between two looks"})


TOLERANCES = {"*": (0, 1.5)}  # of a reproduction: in nats
DIGITS = load_digits()
IMAGES = torch.tensor(DIGITS.images).long().view(-1, 64)  # (1797, 64), from 0 to 16
LABELS = torch.tensor(DIGITS.target)
LEVELS = 17
POWERS = torch.linspace(-1, 1, LEVELS) ** torch.tensor([[1], [2]])  # (2, levels)


@treelike
class VAE:
    """The two networks; q(z | x) is normal with a mean and a deviation for each latent number."""

    def __init__(self, latent, base, p):
        torch.manual_seed(p.seed)
        self.latent, n = latent, p.hidden
        heads = Parallel(lambda mean, log: (mean, log.exp()), Dense(n, latent), Dense(n, latent))
        hidden = lambda nin: Chain(Dense(nin, n, gelu), Dropout(p.dropout), Dense(n, n, gelu), Dropout(p.dropout))
        self.encoder = Chain(lambda x: x / 16, *hidden(64), heads)
        tilt = lambda y: base + y.unflatten(-1, (64, 2)) @ POWERS  # (..., 64, levels)
        self.decoder = Chain(*hidden(latent), Dense(n, 128), tilt)

    def terms(self, x, rng, samples=1):
        """log p(x | z), log p(z) and log q(z | x) of samples from q: (samples, n) each."""
        mean, deviation = self.encoder(x)  # (n, latent)
        noise = torch.randn(samples, *mean.shape, generator=rng)
        z = mean + deviation * noise  # (samples, n, latent)
        log_q = normal(noise) - deviation.log().sum(-1)
        return -surprise(self.decoder(z), x), normal(z), log_q

    def __call__(self, x, rng, weight=1.0):
        """The lower bound on log p(x), in nats, with a weight for the KL divergence; (n,)."""
        likelihood, prior, posterior = self.terms(x, rng)
        return (likelihood + weight * (prior - posterior))[0]

    def log_likelihood(self, x, rng, samples):
        """A tighter bound: the logarithm of the mean of importance weights (Burda et al., 2016); (n,)."""
        with torch.no_grad():
            likelihood, prior, posterior = self.terms(x, rng, samples)
        return torch.logsumexp(likelihood + prior - posterior, dim=0) - math.log(samples)

    def seen(self, z):
        """The mean images of points, from 0 to 16."""
        with torch.no_grad():
            return self.decoder(z).softmax(-1) @ torch.arange(float(LEVELS))


def normal(z):
    return -(z.square() + math.log(2 * math.pi)).sum(-1) / 2


def surprise(logits, x):
    """-log p of images (n, 64) under logits (..., n, 64, levels)."""
    return logitcrossentropy(logits, x.expand(logits.shape[:-1]), agg=lambda losses: losses.sum(-1))


def train(vae, x, held_out, p, metrics, out):
    rng = torch.Generator().manual_seed(p.seed)
    opt = Adam(trainables(vae), p.rate)
    checkpoint = Checkpoint(out, f"latent {vae.latent}", vae=vae, opt=opt, rng=rng)
    for step in tqdm(checkpoint.steps(p.steps, p.every), unit="step", desc=f"{vae.latent} latent numbers"):
        adjust(opt, p.rate * (1 + math.cos(math.pi * step / p.steps)) / 2)
        loss = -vae(x[torch.randint(len(x), (p.batch,), generator=rng)], rng, min(1, step / p.warm)).mean()
        back(loss)
        opt()
        if step % p.every == 0:
            vae.eval()
            with torch.no_grad():
                for of, images in (("training", x), ("held out", held_out)):
                    metrics(step=step, of=of, latent=str(vae.latent), bound=vae(images, rng).mean())
            vae.train()


def histograms(x):
    """log p of each level in each pixel, (64, levels), a count added to all."""
    counts = torch.nn.functional.one_hot(x, LEVELS).sum(0) + 1.0
    return (counts / counts.sum(-1, keepdim=True)).log()


def baselines(x, labels, held_out):
    """Mean log p of densities with independent pixels: one for all digits, and a mixture of one for each digit."""
    n = len(held_out)
    pixels = -surprise(histograms(x).expand(n, -1, -1), held_out)  # (n,)
    each = torch.stack([histograms(x[labels == k]) for k in range(10)])  # (10, 64, levels)
    parts = -surprise(each[:, None].expand(-1, n, -1, -1), held_out)  # (10, n)
    shares = torch.bincount(labels, minlength=10) / len(labels)
    mixture = torch.logsumexp(parts + shares.log()[:, None], dim=0)
    return {"independent pixels": pixels.mean().item(), "the same, a mixture of ten digits": mixture.mean().item()}


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    order = torch.randperm(len(IMAGES), generator=torch.Generator().manual_seed(p.seed))
    train_set, held_out = order[: p.train], order[p.train :]
    x, x_test, metrics = IMAGES[train_set], IMAGES[held_out], Metrics(out)
    table, models = baselines(x, LABELS[train_set], x_test), {}
    for latent in p.latents:
        vae = models[latent] = VAE(latent, histograms(x), p)
        train(vae, x, x_test, p, metrics, out)
        vae.eval()
        rng = torch.Generator().manual_seed(p.seed)
        with torch.no_grad():
            table[f"bound, {latent} latent numbers"] = vae(x_test.repeat(20, 1), rng).mean().item()
        table[f"{latent} latent numbers"] = vae.log_likelihood(x_test, rng, p.samples).mean().item()
        table[f"training images, {latent} latent numbers"] = vae.log_likelihood(x[:400], rng, p.samples).mean().item()
    draw(models[p.latents[0]], models[p.latents[-1]], x_test, LABELS[held_out], table, out / "vae-digits.png")
    torch.set_num_threads(torch_threads)
    return {"nats of an image": {name: round(value, 2) for name, value in table.items()}}


if __name__ == "__main__":
    for name, value in main(Parameters(), Path(__file__).parent)["nats of an image"].items():
        print(f"log p {value:8.2f} nats   {name}")
