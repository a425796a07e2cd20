"""A generative adversarial network of handwritten digits: two networks, two losses, two optimisers.

A generator makes images of noise; a discriminator says which images are real. Each step trains one on the other's
present state: the discriminator with the generator's images as constants, then the generator through the discriminator,
whose own gradients of that are thrown away. How good the images are is measured as a stranger would: how often the
nearest neighbour of an image, among as many held-out and made ones, is of its own kind (0.5: nobody can tell).
"""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch
from picture import draw
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from tqdm import tqdm

from torchflux import Adam, BatchNorm, Chain, Dense, Dropout, back, ignore, leakyrelu, relu, sigmoid, trainables
from torchflux import logitbinarycrossentropy as loss
from torchflux_lab import Checkpoint, Metrics


@dataclass
class Parameters:
    seed: int = 0
    latent: int = field(default=16, metadata={"help": "numbers of noise behind an image"})
    hidden: int = 128
    dropout: float = field(default=0.3, metadata={"help": "in the discriminator"})
    noise: float = field(default=0.1, metadata={"help": "σ of what is added to all that the discriminator sees"})
    train: int = field(default=1000, metadata={"help": "images; the other ones of 1,797 are held out"})
    steps: int = 8000
    batch: int = 64
    rate: float = 0.0005
    mean: float = field(default=0.999, metadata={"help": "how much of the averaged generator stays in a step"})
    every: int = field(default=200, metadata={"help": "steps between two looks"})


TOLERANCES = {"*": 0.1}  # of a reproduction: two networks that play against each other end elsewhere, as good
DIGITS = load_digits()
IMAGES = torch.tensor(DIGITS.images).float().view(-1, 64) / 16  # (1797, 64)
LABELS = torch.tensor(DIGITS.target)


def make_networks(p):
    n, slope = p.hidden, lambda x: leakyrelu(x, 0.2)
    norm = lambda: BatchNorm(n, relu)
    generator = Chain(Dense(p.latent, n), norm(), Dense(n, n), norm(), Dense(n, 64, sigmoid))
    drop = lambda: Dropout(p.dropout)
    discriminator = Chain(Dense(64, n, slope), drop(), Dense(n, n, slope), drop(), Dense(n, 1), torch.ravel)
    return generator, discriminator


def train(x, held_out, p, out):
    """The generator whose weights are means over the steps, and what was seen: (step, how well neighbours tell)."""
    torch.manual_seed(p.seed)
    rng = torch.Generator().manual_seed(p.seed)
    (generator, discriminator), (mean, _) = make_networks(p), make_networks(p)
    mean.load_state_dict(generator.state_dict())
    opt_g = Adam(trainables(generator), p.rate, beta=(0.5, 0.99))
    opt_d = Adam(trainables(discriminator), p.rate, beta=(0.5, 0.99))
    state = {"generator": generator, "discriminator": discriminator, "mean": mean, "opt_g": opt_g, "opt_d": opt_d}
    seen, metrics = SimpleNamespace(looks=[]), Metrics(out)
    checkpoint, ones = Checkpoint(out, **state, rng=rng, seen=seen), torch.ones(p.batch)

    def judged(images):
        return discriminator(images + p.noise * torch.randn(images.shape, generator=rng))  # (batch,)

    for step in tqdm(checkpoint.steps(range(1, p.steps + 1), p.every), unit="step"):
        real = x[torch.randint(len(x), (p.batch,), generator=rng)]
        made = generator(torch.randn(p.batch, p.latent, generator=rng))
        d_loss = (loss(judged(real), ones) + loss(judged(ignore(made)), 0 * ones)) / 2
        back(d_loss)
        opt_d()

        g_loss = loss(judged(made), ones)
        back(g_loss)
        opt_g()
        for weight in trainables(discriminator):
            weight.grad = None  # the discriminator isn't to learn to be deceived

        average(mean, generator, p.mean)
        if step % p.every == 0:
            told = neighbours_tell(sample(mean, len(held_out), p, step), held_out)
            seen.looks.append((step, told))
            metrics(step=step, told=told, d_loss=d_loss, g_loss=g_loss)
    return mean.eval(), seen.looks


def average(mean, generator, keep):
    with torch.no_grad():
        for old, new in zip(mean.state_dict().values(), generator.state_dict().values(), strict=True):
            old.copy_(torch.lerp(new, old, keep) if old.is_floating_point() else new)


def sample(generator, n, p, seed):
    with torch.no_grad():
        return generator.eval()(torch.randn(n, p.latent, generator=torch.Generator().manual_seed(seed)))


# The measures.


def neighbours_tell(a, b):
    """The share of images of two sets of one size whose nearest neighbour is of their set (Lopez-Paz & Oquab, 2017)."""
    both = torch.cat([a, b])  # (2 n, 64)
    nearest = torch.cdist(both, both).fill_diagonal_(float("inf")).argmin(1)
    return ((nearest < len(a)) == (torch.arange(len(both)) < len(a))).float().mean().item()


def measured(made, x, held_out, reader):
    """How well neighbours tell the images; how near they are to training images; how evenly they are of ten digits."""
    shares = torch.bincount(torch.tensor(reader.predict(made.numpy())), minlength=10) / len(made)
    entropy = -(shares[shares > 0] * shares[shares > 0].log()).sum()
    numbers = {
        "told from held-out digits": neighbours_tell(made, held_out),
        "distance to training digits": torch.cdist(made, x).amin(1).mean().item(),
        "digits, as if so many": entropy.exp().item(),
    }
    return {name: round(value, 3) for name, value in numbers.items()}


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    order = torch.randperm(len(IMAGES), generator=torch.Generator().manual_seed(p.seed))
    x, held_out = IMAGES[order[: p.train]], IMAGES[order[p.train :]]
    reader = SVC().fit(x.numpy(), LABELS[order[: p.train]].numpy())
    generator, looks = train(x, held_out, p, out)
    rng, n = torch.Generator().manual_seed(p.seed), len(held_out)
    normal = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T) + 1e-4 * torch.eye(64))
    torch.manual_seed(p.seed)
    images = {
        "generator": sample(generator, n, p, p.seed),
        "normal density": normal.sample((n,)).clamp(0, 1),
        "training digits": x[torch.randperm(len(x), generator=rng)[:n]],
    }
    table = {name: measured(made, x, held_out, reader) for name, made in images.items()}
    table["held-out digits"] = measured(held_out, x, x[:n], reader)
    walk = torch.randn(8, 2, p.latent, generator=rng)
    draw(images["generator"], generator, walk, x, looks, table, out / "gan-digits.png")
    torch.set_num_threads(torch_threads)
    return table | {"looks": looks}


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    for name in list(results)[:-1]:
        print(f"{name:16}", ", ".join(f"{what} {value:.3f}" for what, value in results[name].items()))
