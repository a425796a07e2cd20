"""The viscosity and the pressure of a flow, from noisy velocities at scattered points: Navier and Stokes' equations.

A steady flow behind a grid at Re = 40 (Kovasznay, 1948): the velocity was measured at 400 places, without errors or
with 1 % or 5 %; the pressure never was, and nothing is known at the boundary. A network of the place gives u, v and p;
the viscosity begins at forty times its value and trains like the network's own numbers. All is known in closed form.
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from picture import draw
from tqdm import tqdm

from torchflux import Adam, adjust, back, trainables
from torchflux_lab import Checkpoint, Metrics
from torchflux_physics import BFGS, Box, Cloud, Data, Problem, compiled, div, laplacian, perceptron, relative_error

# Of a reproduction, relative and absolute. With noise 12 % were seen between processors; without it, chance is left.
TOLERANCES = {"*seconds": None, "*viscosity": (0.4, 3e-3), "*": (0.4, 1e-3)}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "of places, noise, weights and points"})
    repeats: int = field(default=3, metadata={"help": "of each noise, with this seed and the following ones"})
    noises: tuple[float, ...] = field(default=(0.0, 0.01, 0.05), metadata={"help": "parts of the mean speed"})
    measured: int = field(default=400, metadata={"help": "places where the velocity was measured"})
    points: int = field(default=800, metadata={"help": "where the equations are to be met"})
    weight: float = field(default=10.0, metadata={"help": "of the equations; a measurement has 1"})
    width: int = field(default=20, metadata={"help": "of the three hidden layers"})
    steps: int = field(default=500, metadata={"help": "of Adam"})
    rate: float = field(default=0.005, metadata={"help": "of Adam, at first; it falls to zero"})
    iterations: int = field(default=1500, metadata={"help": "of BFGS, at most"})
    compiled: bool = field(default=True, metadata={"help": "the losses, which takes ten seconds and pays after that"})


NU = 1 / 40
BOX = Box("xy", (-0.5, -0.5), (1, 1.5))
GRID = torch.cartesian_prod(torch.linspace(-0.5, 1, 61).double(), torch.linspace(-0.5, 1.5, 81).double())


def flow(u, v, p, nu):
    """What is left of the equations at one point."""
    slowed = lambda w: u * w.x + v * w.y - nu * laplacian(w)
    return {"x": slowed(u) + p.x, "y": slowed(v) + p.y, "continuity": div((u, v))}


def exact(x, y, nu=NU):
    """u, v and p (n, 3) at the places x, y (n,)."""
    decay = 1 / (2 * nu) - (1 / (4 * nu**2) + 4 * math.pi**2) ** 0.5
    wake, turn = torch.exp(decay * x), 2 * math.pi * y
    return torch.stack(
        [1 - wake * torch.cos(turn), decay / (2 * math.pi) * wake * torch.sin(turn), (1 - wake**2) / 2], 1
    )


def make_problem(noise, seed, p):
    """Places and velocities, as they were measured, in a problem; and how well ν is known to who knows the formula."""
    rng = torch.Generator().manual_seed(seed)
    at = BOX.sample(p.measured, generator=rng).points
    velocity = lambda nu: exact(*at.T, nu)[:, :2]
    speed = velocity(NU).square().sum(1).mean().sqrt()
    seen = velocity(NU) + noise * speed * torch.randn(p.measured, 2, generator=rng).double()
    slope = torch.func.jacfwd(velocity)(torch.tensor(NU).double())
    bound = noise * speed / slope.norm() / NU  # the standard deviation of least squares for ν alone
    data = {"seen": Data("u v", seen, at=Cloud(at, ("x", "y")))}
    problem = Problem(BOX, {"flow": flow}, data, weights={"flow": p.weight, "seen": 1.0})
    counts = {"flow": p.points, "seen": p.measured}
    return problem, problem.sample(counts, generator=rng, method="sobol", dtype=torch.float64), bound.item()


def compare(model, nu):
    """The errors of viscosity, velocity and pressure, each a part of the true one; the pressure's mean is left out."""
    truth = exact(*GRID.T)
    with torch.no_grad():
        ours = model(GRID)
    centred = lambda p: p - p.mean()
    pressure = relative_error(centred(ours[:, 2]), centred(truth[:, 2]))
    return {"viscosity": abs(nu / NU - 1), "velocity": relative_error(ours[:, :2], truth[:, :2]), "pressure": pressure}


def train(model, problem, batch, losses, p, seen):
    """The viscosity that was found; `seen` is told of it on the way."""
    log_nu = torch.nn.Parameter(torch.tensor(0.0).double())  # of its logarithm, as it is positive
    all_of_it = [model, log_nu]
    loss = lambda: problem.total(losses({"u v p": model}, batch, {"nu": log_nu.exp()}))
    opt = Adam(trainables(all_of_it), p.rate)
    for step in range(p.steps):
        total = loss()
        back(total)
        adjust(opt, p.rate * (1 + math.cos(math.pi * step / p.steps)) / 2)
        opt()
        seen(step, total.item(), math.exp(log_nu.item()))
    BFGS(all_of_it)(loss, p.iterations, seen=lambda k, total: seen(p.steps + k, total, math.exp(log_nu.item())))
    return math.exp(log_nu.item())


def main(parameters: Parameters, out: Path) -> dict:
    p, threads, metrics = parameters, torch.get_num_threads(), Metrics(out)
    torch.set_num_threads(1)  # the arrays are small
    runs = [(noise, p.seed + k) for noise in p.noises for k in range(p.repeats)]
    found, looks, values = [], [], {}
    losses = compiled(make_problem(*runs[0], p)[0]) if p.compiled else None  # the same program for all: data are given
    checkpoint = Checkpoint(out, found=found, looks=looks, values=values)
    for noise, seed in (bar := tqdm(checkpoint.steps(runs))):
        begun, name = time.process_time(), f"noise {noise:g}, seed {seed}"
        problem, batch, bound = make_problem(noise, seed, p)
        torch.manual_seed(seed)
        model = perceptron(2, p.width, 3, nout=3).double()

        def look(step, total, nu, noise=noise, name=name):
            if step % 20 == 0:
                looks.append([noise, name, step, nu])
            if step % 100 == 0:
                metrics(step=step, **{f"loss, {name}": total, f"viscosity, {name}": nu})

        nu = train(model, problem, batch, losses or problem, p, look)
        seconds = round(time.process_time() - begun, 1)
        found.append(
            {"noise": noise, "seed": seed, **compare(model, nu), "with the formula": bound, "seconds": seconds}
        )
        bar.set_postfix({"noise": noise, "viscosity off": f"{found[-1]['viscosity']:.2%}"})
        if seed == p.seed:  # of the largest noise at last
            with torch.no_grad():
                values.update(ours=model(GRID), at=batch["seen"].points, seen=batch["seen"].data["measured"])
    draw(GRID, exact(*GRID.T), values, looks, NU, out / "navier-stokes-inverse.png")
    torch.set_num_threads(threads)
    by_noise = {noise: [each for each in found if each["noise"] == noise] for noise in p.noises}
    mean = lambda each, what: sum(one[what] for one in each) / len(each)
    what = ("viscosity", "velocity", "pressure", "with the formula", "seconds")
    return {"errors": {f"{n:g}": {w: mean(each, w) for w in what} for n, each in by_noise.items()}, "runs": found}


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    for noise, mean in results["errors"].items():
        viscosity = f"viscosity {mean['viscosity']:.2%} off (with the formula {mean['with the formula']:.2%})"
        fields = f"velocity {mean['velocity']:.1e}, pressure {mean['pressure']:.1e}"
        print(f"noise {float(noise):.0%}: {viscosity}, {fields}, {mean['seconds']:.1f} s of processor")
