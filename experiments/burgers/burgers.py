"""Burgers' equation, whose wave steepens to a shock: a network that knows nothing but the equation finds it.

u_t + u u_x = ν u_xx on [-1, 1], with ν = 0.01/π, from u = -sin πx, and u = 0 at both ends. Both conditions are built
into the network's output. What is left is the equation, at points of which a part is drawn anew where it is met worst:
at the shock. The solution is known by an integral (Cole, 1951; Hopf, 1950), with which the network is compared at last.
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from torchflux import Adam, adjust, back, trainables
from torchflux_lab import Checkpoint, Metrics
from torchflux_physics import BFGS, Hard, Interval, Problem, compiled, perceptron, refined, relative_error
from torchflux_physics.plots import side_by_side

# Of a reproduction: the order of magnitude. Thousands of steps of BFGS carry another rounding into the result.
TOLERANCES = {"error": 0.8, "worst": 0.8, "*": None}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "of the weights and of the points"})
    width: int = field(default=20, metadata={"help": "of the three hidden layers"})
    points: int = field(default=2000, metadata={"help": "of a Sobol sequence"})
    extra: int = field(default=1000, metadata={"help": "points that are drawn where the equation is met worst"})
    steps: int = field(default=600, metadata={"help": "of Adam"})
    rate: float = field(default=0.005, metadata={"help": "of Adam, at first; it falls to zero"})
    rounds: int = field(default=10, metadata={"help": "of BFGS, each with other extra points"})
    iterations: int = field(default=400, metadata={"help": "of BFGS in a round"})
    compiled: bool = field(default=True, metadata={"help": "the losses, which takes ten seconds and pays after that"})


NU = 0.01 / math.pi
DOMAIN = Interval("x", -1, 1) * Interval("t", 0, 1)
PROBLEM = Problem(DOMAIN, {"burgers": lambda u: u.t + u * u.x - NU * u.xx})


def exact(x: Tensor, t: Tensor) -> Tensor:
    """u(x, t), all (n,): Cole and Hopf's integral over normally distributed origins, by Gauss and Hermite."""
    z, weight = (torch.from_numpy(a) for a in np.polynomial.hermite.hermgauss(100))
    origin = x[:, None] - z * torch.sqrt(4 * NU * t)[:, None]
    density = weight * torch.exp(-torch.cos(math.pi * origin) / (2 * math.pi * NU))
    return -(torch.sin(math.pi * origin) * density).sum(1) / density.sum(1)


def make_model(p):
    torch.manual_seed(p.seed)
    return Hard(perceptron(2, p.width, 3).double(), lambda u, x, t: -torch.sin(math.pi * x) + t * (1 - x**2) * u)


class Comparison:
    """The network beside the solution, at 401 x 100 points."""

    def __init__(self):
        self.x, self.t = torch.linspace(-1, 1, 401).double(), torch.linspace(0.01, 1, 100).double()
        self.grid = torch.cartesian_prod(self.x, self.t)
        self.truth = exact(*self.grid.T)

    def __call__(self, model):
        """The network's values (401 x 100,), and their relative error."""
        with torch.no_grad():
            u = model(self.grid)[:, 0]
        return u, relative_error(u, self.truth)


def train(model, p, compare, out):
    """The errors after each part of the training, as (what was done, error, seconds of the processor)."""
    rng = torch.Generator().manual_seed(p.seed)
    losses, opt = compiled(PROBLEM) if p.compiled else PROBLEM, Adam(trainables(model), p.rate)
    fixed = PROBLEM.sample({"burgers": p.points}, generator=rng, method="sobol", dtype=torch.float64)["burgers"]
    batch = lambda: {"burgers": refined(PROBLEM, model, "burgers", fixed, p.extra, generator=rng)}
    metrics, now = Metrics(out), SimpleNamespace(looks=[])
    begun = time.process_time()

    def look(done, loss, step):
        _, error = compare(model)
        now.looks.append([done, error, round(time.process_time() - begun, 1)])
        metrics(step=step, loss=loss, error=error)

    points = batch()
    for step in tqdm(Checkpoint(out, "Adam", net=model, opt=opt, rng=rng, now=now).steps(p.steps, 100), desc="Adam"):
        loss = losses(model, points)["burgers"]
        back(loss)
        adjust(opt, p.rate * (1 + math.cos(math.pi * step / p.steps)) / 2)
        opt()
        if step == p.steps - 1:
            look("Adam", loss.item(), p.steps)
    polish = BFGS(model)
    checkpoint = Checkpoint(out, "BFGS", net=model, curvature=polish, rng=rng, now=now)
    for k in (bar := tqdm(checkpoint.steps(p.rounds), desc="BFGS")):
        points = batch()
        found = polish(lambda: losses(model, points)["burgers"], p.iterations)  # noqa: B023 (called at once)
        look(f"BFGS {k + 1}", found.loss, p.steps + (k + 1) * p.iterations)
        bar.set_postfix(loss=f"{found.loss:.1e}", error=f"{now.looks[-1][1]:.1e}")
    return now.looks


def main(parameters: Parameters, out: Path) -> dict:
    p, threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    model, compare = make_model(p), Comparison()
    looks = train(model, p, compare, out)
    u, error = compare(model)
    shape = len(compare.x), len(compare.t)
    truth, grid = compare.truth.view(shape), {"x": compare.x, "t": compare.t}
    side_by_side(grid, truth, u.view(shape), moments=(0.25, 0.5, 1)).savefig(out / "burgers.png", dpi=100)
    torch.set_num_threads(threads)
    worst = (u - compare.truth).abs().max().item()
    return {"error": error, "worst": worst, "seconds": looks[-1][2], "looks": {done: each for done, each, _ in looks}}


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    print(f"relative error {results['error']:.1e}, worst {results['worst']:.1e}, {results['seconds']} s of processor")
