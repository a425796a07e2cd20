"""The Allen-Cahn equation, where naive training settles on a wrong solution: four trainings beside a spectral one.

u_t = 0.0001 u_xx - 5u³ + 5u on [-1, 1] with period 2, from u = x² cos πx, out of which fronts grow. A network that is
trained at all times at once soon meets the equation at one of its fixed points, to which the beginning doesn't lead.
Causal training lets a moment count once those before it are met. Both are tried, each with Adam and with BFGS.
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch
from picture import draw
from spectral import Comparison, beginning
from tqdm import tqdm

from torchflux import Adam, Chain, adjust, back, trainables
from torchflux_lab import Checkpoint, Metrics
from torchflux_physics import (
    BFGS,
    Hard,
    Initial,
    Interval,
    PeriodicFeatures,
    Points,
    Problem,
    causal_loss,
    compiled,
    perceptron,
    refined,
    residuals,
)

WAYS = ("naive Adam", "naive BFGS", "causal Adam", "causal BFGS")
# Of a reproduction. BFGS carries rounding into the result, and when it leaves the wrong solution is a matter of chance.
TOLERANCES = {"*seconds": None, "*errors": None, "naive BFGS.*": None, "causal BFGS.error": 0.8, "*": 0.03}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "of the weights and of the points"})
    ways: tuple[str, ...] = field(default=WAYS, metadata={"help": "of training"})
    width: int = field(default=24, metadata={"help": "of the three hidden layers"})
    harmonics: int = field(default=5, metadata={"help": "cosines and sines of x that the network sees"})
    points: int = field(default=2000, metadata={"help": "of a Sobol sequence"})
    extra: int = field(default=1500, metadata={"help": "points that are drawn where the equation is met worst"})
    beginning: int = field(default=256, metadata={"help": "points at t = 0, where it is a loss"})
    tolerance: float = field(default=10.0, metadata={"help": "of causal weights: a larger one waits longer"})
    chunks: int = field(default=32, metadata={"help": "of time, each with a causal weight"})
    rounds: int = field(default=36, metadata={"help": "each with other extra points and other weights"})
    first: int = field(default=6, metadata={"help": "rounds that are Adam's before BFGS"})
    iterations: int = field(default=100, metadata={"help": "of Adam or BFGS in a round"})
    rate: float = field(default=0.005, metadata={"help": "of Adam, at first; it falls to zero"})
    compiled: bool = field(default=True, metadata={"help": "the losses, which takes ten seconds and pays after that"})

    def __post_init__(self):
        if unknown := sorted(set(self.ways) - set(WAYS)):
            raise ValueError(f"{', '.join(unknown)} is no way of training: there are {', '.join(WAYS)}")


DOMAIN = Interval("x", -1, 1) * Interval("t", 0, 1)


def equation(u):
    """What is left of it at one point."""
    return u.t - 1e-4 * u.xx + 5 * u**3 - 5 * u


def with_beginning(u, x, t):
    """u as it begins; that its slope jumps at x = ±1 fades as in the solution."""
    return torch.exp(-5 * t) * beginning(x) + (1 - torch.exp(-5 * t)) * u


NAIVE = Problem(DOMAIN, {"equation": equation}, {"beginning": Initial("u", beginning, on=DOMAIN.start)})
CAUSAL = Problem(DOMAIN, {"equation": lambda u, root: root * equation(u)})  # the root of a point's weight


def make_model(p, causal):
    torch.manual_seed(p.seed)
    features = PeriodicFeatures(0, 2.0, p.harmonics)
    net = Chain(features, *perceptron(1 + 2 * p.harmonics, p.width, 3)).double()
    return Hard(net, with_beginning) if causal else net


def weighted(model, at, p):
    """Points (n, 2) with the roots of their causal weights."""
    with torch.no_grad():
        residual = residuals(equation, model, at.points, coordinates=("x", "t"))["residual"]
    t = at.points[:, 1]
    _, weights = causal_loss(residual, t, p.tolerance, p.chunks)
    return Points(at.points, {"root": weights[(t * p.chunks).long().clamp(max=p.chunks - 1)].sqrt()})


def train(way, losses, compare, p, out):
    """The network, and after each round its error and the seconds of the processor until then."""
    causal, bfgs = way.startswith("causal"), way.endswith("BFGS")
    problem, model, rng = CAUSAL if causal else NAIVE, make_model(p, causal), torch.Generator().manual_seed(p.seed)
    counts = {"equation": p.points} | ({} if causal else {"beginning": p.beginning})
    fixed = problem.sample(counts, generator=rng, method="sobol", dtype=torch.float64)
    opt, polish, now = Adam(trainables(model), p.rate), BFGS(model), SimpleNamespace(looks=[], seconds=0.0)
    state = {"net": model, "opt": opt, "rng": rng, "now": now} | ({"curvature": polish} if bfgs else {})
    adams, metrics = p.first if bfgs else p.rounds, Metrics(out)
    for k in (bar := tqdm(Checkpoint(out, way, **state).steps(p.rounds, 6), desc=way)):
        begun = time.process_time()
        at = refined(NAIVE, model, "equation", fixed["equation"], p.extra, generator=rng)
        batch = fixed | {"equation": weighted(model, at, p) if causal else at}
        total = lambda: problem.total(losses[causal](model, batch))  # noqa: B023 (called at once)
        if k < adams:
            for step in range(k * p.iterations, (k + 1) * p.iterations):
                back(total())
                adjust(opt, p.rate * (1 + math.cos(math.pi * step / (adams * p.iterations))) / 2)
                opt()
        else:
            polish(total, p.iterations)
        now.seconds += time.process_time() - begun
        now.looks.append([compare(model)[1], round(now.seconds, 1)])
        metrics(step=k, way=way, loss=total().item(), error=now.looks[-1][0])
        bar.set_postfix(error=f"{now.looks[-1][0]:.1e}")
    return model, now.looks


def main(parameters: Parameters, out: Path) -> dict:
    p, threads, compare = parameters, torch.get_num_threads(), Comparison()
    torch.set_num_threads(1)  # the arrays are small
    losses = {causal: compiled(each) if p.compiled else each for causal, each in ((False, NAIVE), (True, CAUSAL))}
    trained = {way: train(way, losses, compare, p, out) for way in p.ways}
    found = {way: compare(model)[0] for way, (model, _) in trained.items()}
    draw(compare, found, {way: looks for way, (_, looks) in trained.items()}, out / "allen-cahn.png")
    torch.set_num_threads(threads)
    results = {}
    for way, (_, looks) in trained.items():
        (error, seconds), errors = looks[-1], [error for error, _ in looks[p.first - 1 :: p.first]]
        results[way] = {"error": error, "seconds": seconds, "errors": errors}
    return results


if __name__ == "__main__":
    for way, result in main(Parameters(), Path(__file__).parent).items():
        print(f"{way:12} relative error {result['error']:.1e}, {result['seconds']} s of processor.")
