"""A diffusivity that is unknown as a function of place, found as a second network from noisy measurements.

u_t = (D(x) u_x)_x - r u on [0, 1] with u = 0 at both ends, from a known beginning. u was measured at 20 places and 50
moments, with errors of 0.01. Unknown are the field D(x) and the number r. Three things are trained together: a network
for u, a network for D, and r; the loss is what is left of the equation, and the misses of the measurements.
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch
from cells import RATE, beginning, bound, diffusivity, solution
from picture import draw
from tqdm import tqdm

from torchflux import Adam, Chain, adjust, back, trainables
from torchflux_lab import Checkpoint, Metrics
from torchflux_physics import BFGS, Cloud, Data, Hard, Interval, Problem, compiled, perceptron, relative_error

# Of a reproduction. A thousand steps of BFGS carry rounding, as another processor does it, into the result.
TOLERANCES = {"*seconds": None, "best.*": 1e-6, "r": 1e-2, "*": 0.4}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "of the noise, the weights and the points"})
    noise: float = field(default=0.01, metadata={"help": "the standard deviation of each measurement"})
    points: int = field(default=1000, metadata={"help": "where the equation is to be met"})
    width: int = field(default=20, metadata={"help": "of the three hidden layers for u"})
    field_width: int = field(default=16, metadata={"help": "of the two hidden layers for D"})
    weight: float = field(default=1000.0, metadata={"help": "of the equation, beside 1 / noise² of a measurement"})
    steps: int = field(default=500, metadata={"help": "of Adam"})
    rate: float = field(default=0.005, metadata={"help": "of Adam, at first; it falls to zero"})
    rounds: int = field(default=10, metadata={"help": "of BFGS"})
    iterations: int = field(default=100, metadata={"help": "of BFGS in a round"})
    compiled: bool = field(default=True, metadata={"help": "the losses, which takes ten seconds and pays after that"})


DOMAIN = Interval("x", 0, 1) * Interval("t", 0, 1)
PLACES = torch.arange(5, 200, 10)  # of 0 to 200
MOMENTS = torch.arange(1, 51).double() / 50


def with_conditions(u, x, t):
    """u as it begins, and zero at the ends."""
    return beginning(x) + t * x * (1 - x) * u


def make_problem(p):
    """The measured values (20, 50), and the problem."""
    rng = torch.Generator().manual_seed(p.seed)
    x, u = solution(MOMENTS)
    seen = u[5 * PLACES] + p.noise * torch.randn(len(PLACES), len(MOMENTS), generator=rng).double()
    at = Cloud(torch.cartesian_prod(x[5 * PLACES], MOMENTS), ("x", "t"))
    return seen, Problem(
        DOMAIN,
        {"diffusion": lambda u, D, r: u.t - (D * u.x).x + r * u},
        {"seen": Data("u", seen.flatten(), at=at)},
        params={"r": torch.nn.Parameter(torch.tensor(0.0).double())},
        weights={"diffusion": p.weight, "seen": 1 / p.noise**2},
    )


def make_models(p):
    """Networks for u(x, t) and for D(x), which is positive."""
    torch.manual_seed(p.seed)
    u = Hard(perceptron(2, p.width, 3).double(), with_conditions)
    net = perceptron(1, p.field_width, 2).double()
    return {"u": u, "D": Chain(lambda at: at[:, :1], *net, lambda y: 0.1 * torch.exp(y))}


class Comparison:
    """Networks beside the truth: u at 101 x 51 points, D at 101."""

    def __init__(self):
        self.t = torch.linspace(0, 1, 51).double()
        x, u = solution(self.t)
        self.x, self.u = x[::10], u[::10]
        self.field = diffusivity(self.x)
        self.grid = torch.cartesian_prod(self.x, self.t)

    def __call__(self, models):
        """u (101, 51) and D (101,) of the networks, and their relative errors."""
        with torch.no_grad():
            u = models["u"](self.grid).view(self.u.shape)
            found = models["D"](self.grid).view(self.u.shape)[:, 0]
        return u, found, {"u": relative_error(u, self.u), "D": relative_error(found, self.field)}


def train(models, problem, compare, p, out):
    """After each 100 iterations: how many were made, and the relative errors of u, D and r."""
    rng, all_of_it = torch.Generator().manual_seed(p.seed), [models, dict(problem.params)]
    counts = {"diffusion": p.points, "seen": len(PLACES) * len(MOMENTS)}
    batch = problem.sample(counts, generator=rng, method="sobol", dtype=torch.float64)
    losses, metrics = compiled(problem) if p.compiled else problem, Metrics(out)
    opt, polish, now = Adam(trainables(all_of_it), p.rate), BFGS(all_of_it), SimpleNamespace(looks=[])
    total = lambda: problem.total(losses(models, batch))

    def look(done):
        errors = compare(models)[2] | {"r": abs(problem.params["r"].item() / RATE - 1)}
        now.looks.append([done, *errors.values()])
        metrics(step=done, **{name: loss.item() for name, loss in losses(models, batch).items()}, **errors)

    state = {"nets": models, "r": problem.params["r"], "now": now}
    for step in tqdm(Checkpoint(out, "Adam", opt=opt, **state).steps(p.steps, 100), desc="Adam"):
        back(total())
        adjust(opt, p.rate * (1 + math.cos(math.pi * step / p.steps)) / 2)
        opt()
        if (step + 1) % 100 == 0:
            look(step + 1)
    for k in (bar := tqdm(Checkpoint(out, "BFGS", curvature=polish, **state).steps(p.rounds), desc="BFGS")):
        polish(total, p.iterations)
        look(p.steps + (k + 1) * p.iterations)
        bar.set_postfix(D=f"{now.looks[-1][2]:.3f}", r=f"{now.looks[-1][3]:.3f}")
    return now.looks


def main(parameters: Parameters, out: Path) -> dict:
    p, threads, compare, begun = parameters, torch.get_num_threads(), Comparison(), time.process_time()
    torch.set_num_threads(1)  # the arrays are small
    seen, problem = make_problem(p)
    models = make_models(p)
    looks = train(models, problem, compare, p, out)
    seconds = round(time.process_time() - begun, 1)
    u, found, errors = compare(models)
    rate, knots, deviations = bound(PLACES, MOMENTS, p.noise)
    draw(compare, (PLACES / 200, MOMENTS, seen), (u, found), (knots, deviations), looks, out / "diffusion-inverse.png")
    torch.set_num_threads(threads)
    best = {"D": (deviations.norm() / diffusivity(knots).norm()).item(), "r": rate.item() / RATE}
    r = problem.params["r"].item()
    return {"errors": errors | {"r": abs(r / RATE - 1)}, "r": r, "best": best, "seconds": seconds}


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    for name, error in results["errors"].items():
        print(f"{name} is {error:.2%} off", f"(at best {results['best'][name]:.2%})" if name in results["best"] else "")
    print(f"{results['seconds']} s of the processor.")
