"""The Korteweg-de Vries equation: a tall soliton overtakes a low one, and a network follows both.

u_t + 6 u u_x + u_xxx = 0, with solitons of the heights 2 and 1/2 and the speeds 4 and 1. They pass through one another
and keep their forms, but they don't add up: while they are one, the wave is lower than the tall one. After it the tall
one is ahead of where it would be, and the low one behind. The beginning and the three conditions at the ends are built
into the network's output. The solution is known (Hirota, 1971), and the network is compared with it at last.
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch
from solitons import LOW, TALL, crests, exact, gained
from tqdm import tqdm

from torchflux import Adam, Chain, adjust, back, trainables
from torchflux_lab import Checkpoint, Metrics
from torchflux_physics import BFGS, Hard, Interval, Problem, compiled, perceptron, refined, relative_error
from torchflux_physics.plots import side_by_side

# Of a reproduction. Thousands of steps of BFGS carry rounding, as another processor does it, into the result: with
# other instructions the error became 5.8e-5 instead of 7.6e-5, and a crest moved by 3e-5.
TOLERANCES = {"error": 0.8, "worst": 0.8, "gained.*": 1e-3, "height*": 1e-3, "*": None}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "of the weights and of the points"})
    time: float = field(default=1.5, metadata={"help": "of the end; it begins as long before they meet, at 0"})
    width: int = field(default=20, metadata={"help": "of the three hidden layers"})
    points: int = field(default=2000, metadata={"help": "of a Sobol sequence"})
    extra: int = field(default=1000, metadata={"help": "points that are drawn where the equation is met worst"})
    steps: int = field(default=600, metadata={"help": "of Adam"})
    rate: float = field(default=0.005, metadata={"help": "of Adam, at first; it falls to zero"})
    rounds: int = field(default=10, metadata={"help": "of BFGS, each with other extra points"})
    iterations: int = field(default=400, metadata={"help": "of BFGS in a round"})
    compiled: bool = field(default=True, metadata={"help": "the losses, which takes ten seconds and pays after that"})


LENGTH = 15.0  # on either side


def make_problem(p):
    domain = Interval("x", -LENGTH, LENGTH) * Interval("t", -p.time, p.time)
    return Problem(domain, {"kdv": lambda u: u.t + 6 * u * u.x + u.xxx})


def make_model(p):
    """At first u is the solution, and later at the ends what it was there; on the right its slope stays, too."""
    torch.manual_seed(p.seed)
    units = torch.tensor([3, p.time]).double()
    net = Chain(lambda points: points / units, *perceptron(2, p.width, 3).double())
    window = lambda x, t: (1 + t / p.time) * (1 + x / LENGTH) * (1 - x / LENGTH) ** 2
    return Hard(net, lambda u, x, t: exact(x, -p.time) + window(x, t) * u)


class Comparison:
    """The network beside the solution, at 301 x 101 points."""

    def __init__(self, p):
        self.x = torch.linspace(-LENGTH, LENGTH, 301, dtype=torch.float64)
        self.t = torch.linspace(-p.time, p.time, 101, dtype=torch.float64)
        self.points = torch.cartesian_prod(self.x, self.t)
        self.truth = exact(*self.points.T).view(301, 101)

    def __call__(self, model):
        """The network's values (301, 101), and their relative error."""
        with torch.no_grad():
            u = model(self.points).view(301, 101)
        return u, relative_error(u, self.truth)


def train(model, p, compare, out):
    """The errors after each part of the training, as (what was done, error, seconds of the processor)."""
    rng = torch.Generator().manual_seed(p.seed)
    problem, opt = make_problem(p), Adam(trainables(model), p.rate)
    losses = compiled(problem) if p.compiled else problem
    fixed = problem.sample({"kdv": p.points}, generator=rng, method="sobol", dtype=torch.float64)["kdv"]
    batch = lambda: {"kdv": refined(problem, model, "kdv", fixed, p.extra, generator=rng)}
    metrics, now = Metrics(out), SimpleNamespace(looks=[])
    begun = time.process_time()

    def look(done, loss, step):
        _, error = compare(model)
        now.looks.append([done, error, round(time.process_time() - begun, 1)])
        metrics(step=step, loss=loss, error=error)

    points = batch()
    for step in tqdm(Checkpoint(out, "Adam", net=model, opt=opt, rng=rng, now=now).steps(p.steps, 100), desc="Adam"):
        loss = losses(model, points)["kdv"]
        back(loss)
        adjust(opt, p.rate * (1 + math.cos(math.pi * step / p.steps)) / 2)
        opt()
        if step == p.steps - 1:
            look("Adam", loss.item(), p.steps)
    polish = BFGS(model)
    checkpoint = Checkpoint(out, "BFGS", net=model, curvature=polish, rng=rng, now=now)
    for k in (bar := tqdm(checkpoint.steps(p.rounds), desc="BFGS")):
        points = batch()
        found = polish(lambda: losses(model, points)["kdv"], p.iterations)  # noqa: B023 (called at once)
        look(f"BFGS {k + 1}", found.loss, p.steps + (k + 1) * p.iterations)
        bar.set_postfix(loss=f"{found.loss:.1e}", error=f"{now.looks[-1][1]:.1e}")
    return now.looks


def picture(x, t, truth, u):
    """Both fields; dashed in the maps, the ways of solitons that don't meet. Moments at first, midway and at last."""
    figure = side_by_side({"x": x, "t": t}, truth, u, moments=(t[0].item(), 0, t[-1].item()))
    for ax in figure.axes[:2]:
        for k, begun in zip((TALL, LOW), crests(x, truth[:, 0]), strict=True):
            ax.plot(t, begun + k**2 * (t - t[0]), "k--", lw=0.8)
    return figure


def main(parameters: Parameters, out: Path) -> dict:
    p, threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    model, compare = make_model(p), Comparison(p)
    looks = train(model, p, compare, out)
    u, error = compare(model)
    x, t, truth = compare.x, compare.t, compare.truth
    picture(x, t, truth, u).savefig(out / "kdv.png", dpi=100)
    torch.set_num_threads(threads)
    return {
        "error": error,
        "worst": (u - truth).abs().max().item(),
        "height when they are one": u[150, 50].item(),
        "gained": {"network": gained(x, t, u), "solution": gained(x, t, truth)},
        "seconds": looks[-1][2],
        "looks": {done: each for done, each, _ in looks},
    }


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    print(f"relative error {results['error']:.1e}, worst {results['worst']:.1e}, {results['seconds']} s of processor")
