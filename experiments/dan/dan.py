"""A discriminative adversarial network: read digits without learning which scanner they came from.

Listing 4 of "Fashionable Modelling with Flux" (Innes et al., 2018). Two scanners ("sites") photograph handwritten
digits; the label is whether the digit is at least 5. In training the site agrees with the label 85 % of the time, in
the test half of the time. A convolution feeds both the classifier and an MLP that guesses the site. Four ways to train:

    plain    the classifier's loss only; the head watches the features as constants
    literal  the listing: c_loss carries the flipped site, d_loss the true one, and both train every weight
    flipped  another reading of the listing: only the flipped site
    routed   the head learns the site; its gradient reaches the shared features reversed, times λ
"""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from picture import draw
from sklearn.datasets import load_digits
from tqdm import tqdm

from torchflux import (
    Adam,
    BatchNorm,
    Chain,
    Conv,
    Dense,
    OptimiserChain,
    WeightDecay,
    back,
    flatten,
    hook,
    ignore,
    relu,
    trainables,
)
from torchflux import logitbinarycrossentropy as loss
from torchflux_lab import Checkpoint, Metrics

# Of a reproduction: ten times what another processor changes, but for the networks that two losses pull apart.
TOLERANCES = {"routed λ=10.*": None, "*.runs": None, "*_std": (0, 0.1), "*.probe": (0, 0.1), "*": (0, 0.03)}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "the first of the seeds"})
    seeds: int = field(default=5, metadata={"help": "how many runs stand behind each number"})
    agree: float = field(default=0.85, metadata={"help": "how often site and label agree in training"})
    strength: float = field(default=0.4, metadata={"help": "of the lines that the second scanner draws"})
    noise: float = field(default=0.25, metadata={"help": "of both scanners, as a share of full ink"})
    epochs: int = 30
    batch: int = 100
    rate: float = 0.002
    lambdas: tuple[float, ...] = field(default=(0.1, 0.3, 1.0, 3.0, 10.0), metadata={"help": "of the sweep"})


# The data: scikit-learn's real digits, 8 by 8, seen by two scanners.

DIGITS = load_digits()
IMAGES = torch.tensor(DIGITS.images).float() / 16  # (1797, 8, 8)
LABELS = torch.tensor(DIGITS.target >= 5).float()  # (1797,)


def scan(images, site, p, rng):
    """What the sites make of images: noise at both, interlaced lines of varying strength at site 1."""

    def uniform(low, high):
        return low + (high - low) * torch.rand(len(images), 1, 1, generator=rng)

    rows = torch.tensor([1.0, -1.0]).repeat(4).view(1, 8, 1)
    lines = p.strength * uniform(0.7, 1.3) * uniform(-1, 1).sign() * rows  # (n, 8, 1)
    x = images + site.view(-1, 1, 1) * lines
    return (x + p.noise * torch.randn(x.shape, generator=rng)).unsqueeze(1)  # (n, 1, 8, 8)


def make_data(p, seed, agree):
    """Three disjoint sets of images (x, label, site): for training, for the probe, and the test, these two balanced."""
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(IMAGES), generator=rng)
    sets = []
    for index, share in ((order[:1000], agree), (order[1000:1400], 0.5), (order[1400:], 0.5)):
        y = LABELS[index]
        site = torch.where(torch.rand(len(y), generator=rng) < share, y, 1 - y)
        sets.append((scan(IMAGES[index], site, p, rng), y, site))
    return sets


# The model (Figure 1 of the paper). The BatchNorm has no scale, so that the features can't hide the site by shrinking.


def make_model():
    shared = Chain(Conv((3, 3), 1, 4), BatchNorm(4, relu, affine=False))
    classifier = Chain(Conv((3, 3), 4, 16, relu), flatten, Dense(256, 64, relu), Dense(64, 1), torch.ravel)
    head = Chain(flatten, Dense(144, 32, relu), Dense(32, 1), torch.ravel)
    return shared, classifier, head


# The modes: what the head adds to the loss of the classifier.


def plain(features, head, site, lam):
    return loss(head(ignore(features)), site)


def literal(features, head, site, lam):
    guess = head(features)
    return lam * loss(guess, 1 - site) + loss(guess, site)


def flipped(features, head, site, lam):
    return lam * loss(head(features), 1 - site)


def routed(features, head, site, lam):
    return loss(head(hook(lambda slope: -lam * slope, features)), site)


def train(mode, lam, data, p, seed):
    torch.manual_seed(seed)
    shared, classifier, head = make_model()
    adam = Adam(p.rate, beta=(0.5, 0.99))
    opt = OptimiserChain(trainables((shared, classifier)), adam)
    head_opt = OptimiserChain(trainables(head), WeightDecay(0.01), adam)
    x, y, site = data
    for _ in range(p.epochs):
        for i in torch.randperm(len(x)).split(p.batch):
            features = shared(x[i])
            c_loss = loss(classifier(features), y[i])
            d_loss = mode(features, head, site[i], lam)
            back(c_loss, d_loss)  # gradients accumulate, as in the paper
            opt()
            head_opt()
    return shared.eval(), classifier.eval()


# The two measures.


def accuracy(logits, target):
    return ((logits > 0) == (target > 0.5)).float().mean().item()


def probe(fit, site_fit, test, site_test, seed):
    """How well a fresh MLP, trained on frozen features of other images, tells the sites apart."""
    torch.manual_seed(10_000 + seed)
    mean, std = fit.mean(0), fit.std(0) + 1e-3
    net = Chain(lambda x: (x - mean) / std, Dense(fit.shape[1], 64, relu), Dense(64, 1), torch.ravel)
    opt = OptimiserChain(trainables(net), WeightDecay(1e-3), Adam(0.01))
    for _ in range(200):
        back(loss(net(fit), site_fit))
        opt()
    return accuracy(net(test), site_test)


def measure(mode, lam, p, seed, agree):
    """(accuracy on the test, accuracy of the probe) of one training run."""
    training, (x_fit, _, site_fit), (x, y, site) = make_data(p, seed, agree)
    shared, classifier = train(mode, lam, training, p, seed)
    with torch.no_grad():
        fit, features = flatten(shared(x_fit)), shared(x)
        right = accuracy(classifier(features), y)
    return right, probe(fit, site_fit, flatten(features), site, seed)


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    rows = {"oracle": (plain, 0.0, 0.5), "plain": (plain, 0.0, p.agree)}
    for mode in (literal, flipped, routed):
        rows |= {f"{mode.__name__} λ={lam:g}": (mode, lam, p.agree) for lam in dict.fromkeys((1.0, *p.lambdas))}
    measured = {name: [] for name in rows}
    metrics, checkpoint = Metrics(out), Checkpoint(out, measured=measured)
    for name in (bar := tqdm(checkpoint.steps([name for name in rows for _ in range(p.seeds)]), unit="run")):
        bar.set_description(f"{name:15}")
        mode, lam, agree = rows[name]
        right, seen = measure(mode, lam, p, p.seed + len(measured[name]), agree)
        measured[name].append((right, seen))
        metrics(mode=name, accuracy=right, probe=seen)
    torch.set_num_threads(torch_threads)
    table = {name: torch.tensor(pairs) for name, pairs in measured.items()}  # (seeds, 2) each
    samples = torch.tensor([0, 4, 5, 9])  # one scanner 0, two of scanner 1
    sites = [torch.full((4,), float(site)) for site in (0, 1, 1)]
    scans = [scan(IMAGES[samples], site, p, torch.Generator().manual_seed(i))[:, 0] for i, site in enumerate(sites, 1)]
    draw([IMAGES[samples], *scans], table, p.lambdas, out / "dan.png")
    return {name: summary(pairs) for name, pairs in table.items()}


def summary(pairs):
    (right, seen), (right_std, seen_std) = pairs.mean(0).tolist(), pairs.std(0).tolist()
    numbers = {"accuracy": right, "accuracy_std": right_std, "probe": seen, "probe_std": seen_std}
    return {name: round(x, 4) for name, x in numbers.items()} | {"runs": pairs.tolist()}


if __name__ == "__main__":
    for name, row in main(Parameters(), Path(__file__).parent).items():
        print(f"{name:15} accuracy {row['accuracy']:.3f} ± {row['accuracy_std']:.3f}", end="   ")
        print(f"probe {row['probe']:.3f} ± {row['probe_std']:.3f}")
