"""Learning to learn: weights from which ten points are enough to learn a sine wave in a step or two.

A task is a wave with an amplitude and a phase of its own, of which ten points are seen. MAML looks for the weights that
are best after a step of gradient descent on the ten: the gradient of the loss after the step goes through the step, and
so through a gradient. Next to it are the same without second derivatives ("first order"), weights trained on all
waves at once ("joint", which can do no better than their mean, before it has seen the ten points), and random weights.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from picture import draw
from torch.func import vmap
from tqdm import tqdm

from torchflux import Adam, Chain, Dense, back, destructure, gradient, ignore, mse, relu
from torchflux_lab import Checkpoint, Metrics

TOLERANCES = {"*.95 %": 0.5, "*": (0.3, 0.1)}  # of a reproduction: several times the errors of the means


@dataclass
class Parameters:
    seed: int = 0
    shots: int = field(default=10, metadata={"help": "points of a wave that are seen"})
    steps: int = field(default=5000, metadata={"help": "of Adam, for each way of training"})
    tasks: int = field(default=25, metadata={"help": "waves in a step"})
    rate: float = field(default=0.001, metadata={"help": "of Adam"})
    inner_rate: float = field(default=0.01, metadata={"help": "of gradient descent on the points seen"})
    inner_steps: int = field(default=1, metadata={"help": "of gradient descent, in training"})
    more_steps: int = field(default=10, metadata={"help": "of gradient descent, in the test"})
    tests: int = field(default=600, metadata={"help": "waves in the test"})
    hidden: int = 40
    every: int = field(default=200, metadata={"help": "steps between two lines of metrics"})


class Waves:
    """Tasks: y = amplitude · sin(x - phase), for x from -5 to 5."""

    def __init__(self, n, rng):
        self.rng = rng
        self.amplitude = 0.1 + 4.9 * torch.rand(n, 1, 1, generator=rng)
        self.phase = math.pi * torch.rand(n, 1, 1, generator=rng)

    def __call__(self, x):
        return self.amplitude * torch.sin(x - self.phase)

    def points(self, k):
        """k points of each wave: two of (n, k, 1)."""
        x = 10 * torch.rand(len(self.phase), k, 1, generator=self.rng) - 5
        return x, self(x)


class Learner:
    """A network as a function of its weights, and gradient descent as a function from weights to weights."""

    def __init__(self, p):
        torch.manual_seed(p.seed)
        n = p.hidden
        start, self.network = destructure(Chain(Dense(1, n, relu), Dense(n, n, relu), Dense(n, 1)))
        self.start = start.detach()
        self.rate = p.inner_rate

    def error(self, weights, x, y):
        return mse(self.network(weights)(x), y)

    def descent(self, weights, x, y, steps, constant=False):
        """The weights after some steps on points (k, 1); `constant`: with slopes that count as constants."""
        for _ in range(steps):
            (slope,) = gradient(self.error, weights, x, y)[:1]
            weights = weights - self.rate * (ignore(slope) if constant else slope)
        return weights


# The ways of training: the loss of weights, on points of many waves that are seen, and further points of the same.


def maml(learner, weights, seen, more, p, constant=False):
    def after(x, y, x_more, y_more):
        return learner.error(learner.descent(weights, x, y, p.inner_steps, constant), x_more, y_more)

    return vmap(after)(*seen, *more).mean()


def first_order(learner, weights, seen, more, p):
    return maml(learner, weights, seen, more, p, constant=True)


def joint(learner, weights, seen, more, p):
    return (learner.error(weights, *seen) + learner.error(weights, *more)) / 2


WAYS = {"MAML": maml, "first order": first_order, "joint": joint}


def train(name, learner, p, metrics, out):
    weights = learner.start.clone().requires_grad_()
    opt, rng = Adam(weights, p.rate), torch.Generator().manual_seed(p.seed)
    checkpoint = Checkpoint(out, name, weights=weights, opt=opt, rng=rng)
    for step in tqdm(checkpoint.steps(p.steps, p.every), unit="step", desc=name):
        waves = Waves(p.tasks, rng)
        loss = WAYS[name](learner, weights, waves.points(p.shots), waves.points(p.shots), p)
        back(loss)
        opt()
        if step % p.every == 0:
            metrics(step=step, of=name, loss=loss)
    return weights.detach()


def tested(learner, weights, p):
    """Mean squared errors on new waves, after 0, 1, 2, ... steps on the points seen; (steps + 1, tests)."""
    rng = torch.Generator().manual_seed(p.seed + 1)
    waves = Waves(p.tests, rng)
    seen, x = waves.points(p.shots), torch.linspace(-5, 5, 101)[:, None]
    y, ahead = waves(x), vmap(lambda w, x, y: learner.descent(w, x, y, 1))
    weights, errors = weights.expand(p.tests, -1), []
    for step in range(p.more_steps + 1):
        weights = ahead(weights, *seen) if step else weights
        errors.append(vmap(lambda w, y: learner.error(w, x, y))(weights, y))
    return torch.stack(errors)


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    learner, metrics = Learner(p), Metrics(out)
    found = {name: train(name, learner, p, metrics, out) for name in WAYS} | {"random": learner.start}
    errors = {name: tested(learner, weights, p) for name, weights in found.items()}
    waves = Waves(2, torch.Generator().manual_seed(p.seed + 4))
    x, _ = waves.points(p.shots)
    x[1] = x[1].abs()  # the second wave is seen on one side only
    draw(learner, found, waves, (x, waves(x)), errors, p.more_steps, out / "maml-sine.png")
    torch.set_num_threads(torch_threads)
    return {name: summary(each, p) for name, each in errors.items()}


def summary(errors, p):
    means, deviations = errors.mean(1).tolist(), (1.96 * errors.std(1) / p.tests**0.5).tolist()
    steps = [f"after {k}" for k in range(len(means))]
    return {s: {"error": round(m, 4), "95 %": round(d, 4)} for s, m, d in zip(steps, means, deviations, strict=True)}


if __name__ == "__main__":
    for name, rows in main(Parameters(), Path(__file__).parent).items():
        shown = [*list(rows)[:3], list(rows)[-1]]
        print(f"{name:12}", *(f"{s} {rows[s]['error']:.3f} ± {rows[s]['95 %']:.3f}" for s in shown))
