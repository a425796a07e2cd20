"""The Lorenz equations from a noisy record: a network fits the orbit, and the three coefficients with it.

x' = σ(y - x), y' = x(ρ - z) - y, z' = xy - βz, with σ = 10, ρ = 15, β = 8/3 from (-8, 7, 27), for three units of time:
DeepXDE's example, whose record has no noise. Here all three were measured 100 times, with errors of 0.05. The unknown
coefficients begin at 1, and train like the network's own numbers: the loss has the equations and the measurements.
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from picture import draw
from tqdm import tqdm

from torchflux import Adam, Chain, adjust, back, trainables
from torchflux_diffeq import PID, Dopri5, solve
from torchflux_lab import Checkpoint, Metrics
from torchflux_physics import Cloud, Data, FourierFeatures, Interval, Problem, compiled, perceptron, scipy_lbfgs

# Of a reproduction: the coefficients come within a percent, by thousands of steps that carry rounding along.
TOLERANCES = {"*seconds": None, "found.*": 0.01, "errors.*": (0, 0.01), "*": 0.7}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "of the noise, the weights and the points"})
    measured: int = field(default=100, metadata={"help": "moments at which x, y and z were measured"})
    noise: float = field(default=0.05, metadata={"help": "the standard deviation of each measurement"})
    points: int = field(default=400, metadata={"help": "in time, where the equations are to be met"})
    features: int = field(default=20, metadata={"help": "cosines and sines of time"})
    width: int = field(default=40, metadata={"help": "of the two hidden layers"})
    steps: int = field(default=1000, metadata={"help": "of Adam"})
    rate: float = field(default=0.005, metadata={"help": "of Adam, at first; it falls to zero"})
    iterations: int = field(default=1000, metadata={"help": "of L-BFGS, at most"})
    compiled: bool = field(default=True, metadata={"help": "the losses, which takes ten seconds and pays after that"})


TRUE = {"sigma": 10.0, "rho": 15.0, "beta": 8 / 3}
START = torch.tensor([-8.0, 7.0, 27.0]).double()
TIME = Interval("t", 0, 3)


def lorenz(x, y, z, sigma, rho, beta):
    """What is left of the equations at one moment."""
    return {"x": x.t - sigma * (y - x), "y": y.t - x * (rho - z) + y, "z": z.t - x * y + beta * z}


def orbit(ts):
    """The solution (n, 3) at the times (n,)."""

    def slope(t, u, args):
        x, y, z = u.unbind(-1)
        return torch.stack([TRUE["sigma"] * (y - x), x * (TRUE["rho"] - z) - y, x * y - TRUE["beta"] * z], -1)

    return solve(slope, START, ts, solver=Dopri5(), controller=PID(1e-10, 1e-10)).ys


def make_problem(p):
    """The measured values, and the problem: equations, a condition for each number measured, coefficients to find."""
    rng = torch.Generator().manual_seed(p.seed)
    ts = torch.linspace(0, 3, p.measured).double()
    seen = orbit(ts) + p.noise * torch.randn(p.measured, 3, generator=rng).double()
    at = Cloud(ts[:, None], ("t",))
    data = {f"seen {name}": Data(name, values, at=at) for name, values in zip("xyz", seen.T, strict=True)}
    unknown = {name: torch.nn.Parameter(torch.tensor(1.0).double()) for name in TRUE}
    weights = dict.fromkeys(data, 1 / p.noise**2) | {"lorenz": 1.0}  # those of the likelihood
    return ts, seen, Problem(TIME, {"lorenz": lorenz}, data, params=unknown, weights=weights)


def make_model(p):
    torch.manual_seed(p.seed)
    features = FourierFeatures(1, p.features, scale=0.5, generator=torch.Generator().manual_seed(p.seed))
    return Chain(features, *perceptron(p.features, p.width, 2, nout=3), lambda y: 10 * y).double()


def train(model, problem, p, out):
    """The coefficients as they were found in the course, (step, values) in a list."""
    rng = torch.Generator().manual_seed(p.seed)
    counts = {"lorenz": p.points} | dict.fromkeys(problem.conditions, p.measured)
    batch = problem.sample(counts, generator=rng, method="sobol", dtype=torch.float64)
    all_of_it, models = [model, dict(problem.params)], {"x y z": model}
    losses, opt = compiled(problem) if p.compiled else problem, Adam(trainables(all_of_it), p.rate)
    metrics, looks = Metrics(out), []

    def look(step, total):
        values = {name: value.item() for name, value in problem.params.items()}
        looks.append([step, *values.values()])
        metrics(step=step, loss=total, **values)

    checkpoint = Checkpoint(out, "Adam", net=model, coefficients=list(problem.params.values()), opt=opt, looks=looks)
    for step in tqdm(checkpoint.steps(p.steps, 100), desc="Adam"):
        total = problem.total(losses(models, batch))
        back(total)
        adjust(opt, p.rate * (1 + math.cos(math.pi * step / p.steps)) / 2)
        opt()
        if step % 50 == 0:
            look(step, total.item())
    seen = lambda k, total: look(p.steps + k, total) if k % 50 == 0 else None
    polish = Checkpoint(out, "L-BFGS", net=model, coefficients=list(problem.params.values()), looks=looks)
    for _ in polish.steps(1):
        scipy_lbfgs(lambda: problem.total(losses(models, batch)), all_of_it, p.iterations, seen=seen)
    return looks


def main(parameters: Parameters, out: Path) -> dict:
    p, threads, begun = parameters, torch.get_num_threads(), time.process_time()
    torch.set_num_threads(1)  # the arrays are small
    ts, seen, problem = make_problem(p)
    model = make_model(p)
    looks = train(model, problem, p, out)
    seconds = round(time.process_time() - begun, 1)
    fine = torch.linspace(0, 3, 601).double()
    with torch.no_grad():
        ours = model(fine[:, None])
    draw(fine, orbit(fine), ours, (ts, seen), looks, TRUE, out / "lorenz-inverse.png")
    torch.set_num_threads(threads)
    found = {name: value.item() for name, value in problem.params.items()}
    errors = {name: abs(found[name] / true - 1) for name, true in TRUE.items()}
    deviation = (ours - orbit(fine)).square().mean().sqrt().item()
    return {"found": found, "errors": errors, "deviation of the orbit": deviation, "seconds": seconds}


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    for name, value in results["found"].items():
        print(f"{name:6} {value:.4f}, {results['errors'][name]:.2%} off")
    print(f"the orbit {results['deviation of the orbit']:.3f} off, {results['seconds']} s of processor")
