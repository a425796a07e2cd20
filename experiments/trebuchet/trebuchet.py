"""A trebuchet learns to aim: a network is trained through the simulation of its throws.

The task is a distance and a wind, the aim an angle of release and a counterweight that hit it. A network gives the aim;
how far off the throw lands is a function of the aim through three differential equations and the events that end them
(throw.py), and the derivative of that reaches the network's weights. The emblem of this idea: Innes et al. (2019), "dP:
Differentiable programming for control". Two ways to train:

    gauss-newton    as a throw has one number for its error and two for its aim, all of a step's derivatives come from one
                    sweep through the simulation; damped by the mean square of the errors
    adam            the usual
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from picture import draw
from scipy.optimize import minimize
from throw import POUND, Aim, distance
from torch.func import jacrev, vmap
from tqdm import tqdm

from torchflux import Adam, Chain, Dense, adjust, back, destructure, loadmodel, tanh
from torchflux_diffeq import PID
from torchflux_zygote import native


@dataclass
class Parameters:
    seed: int = 0
    rule: Literal["gauss-newton", "adam"] = "gauss-newton"
    steps: int = 50
    throws: int = field(default=256, metadata={"help": "in each step, with new tasks"})
    hidden: int = 16
    rate: float = field(default=0.03, metadata={"help": "of Adam, at first"})
    near: float = field(default=20.0, metadata={"help": "the nearest target (m)"})
    far: float = field(default=80.0, metadata={"help": "the farthest target (m)"})
    wind: float = field(default=7.0, metadata={"help": "the strongest wind, from ahead or behind (m/s)"})
    angles: tuple[float, float] = field(default=(10.0, 80.0), metadata={"help": "of release (degrees)"})
    masses: tuple[float, float] = field(default=(20.0, 600.0), metadata={"help": "of the counterweight (kg)"})
    tests: int = field(default=1000, metadata={"help": "tasks that are held out"})
    optimised: int = field(default=5, metadata={"help": "of these, how many are also solved one by one"})


TRAINING = PID(1e-5, 1e-7)
EXACT = PID(1e-9, 1e-11)


def make_tasks(p, n, rng):
    """Distances (m) and tail winds (m/s), (n, 2)."""
    u = torch.rand(n, 2, generator=rng, dtype=torch.float64)
    return torch.stack([p.near + (p.far - p.near) * u[:, 0], p.wind * (2 * u[:, 1] - 1)], -1)


def make_model(p):
    torch.manual_seed(p.seed)
    centre, reach = (p.near + p.far) / 2, (p.far - p.near) / 2
    scaled = lambda x: (x - torch.tensor([centre, 0.0])) / torch.tensor([reach, p.wind])
    return Chain(scaled, Dense(2, p.hidden, tanh), Dense(p.hidden, p.hidden, tanh), Dense(p.hidden, 2)).double()


def aimed(knobs, tasks, p):
    """Any two numbers (n, 2) as an aim within the bounds: the angle evenly, the counterweight by its logarithm."""
    angle, mass = torch.sigmoid(knobs).unbind(-1)
    (low, high), (light, heavy) = p.angles, p.masses
    return Aim(torch.deg2rad(low + (high - low) * angle), light * (heavy / light) ** mass, tasks[:, 1])


def miss(knobs, tasks, p, controller):
    """How far off the throws land, as a part of the distance, (n,)."""
    return distance(aimed(knobs, tasks, p), controller) / tasks[:, 0] - 1


# The two ways to train. Both yield each step's errors.


def gauss_newton(model, p, rng):
    weights, rebuild = destructure(model)  # (parameters,)
    weights = weights.detach()
    knobs_of = lambda weights, task: rebuild(weights)(task)
    damping = 1.0
    for _ in range(p.steps):
        tasks = make_tasks(p, p.throws, rng)
        knobs = knobs_of(weights, tasks).requires_grad_()
        error = miss(knobs, tasks, p, TRAINING)
        (slope,) = torch.autograd.grad(error.sum(), knobs)  # (throws, 2), each throw's own
        each = vmap(jacrev(knobs_of), (None, 0))(weights, tasks)  # (throws, 2, parameters)
        jacobian = torch.einsum("tk,tkp->tp", slope, each)
        error = error.detach()
        normal = jacobian.T @ jacobian / p.throws + damping * torch.eye(len(weights), dtype=weights.dtype)
        weights = weights - torch.linalg.solve(normal, jacobian.T @ error / p.throws)
        damping = min(1.0, max(1e-7, 0.1 * error.square().mean().item()))
        yield error
    loadmodel(model, rebuild(weights))


def adam(model, p, rng):
    opt = Adam(list(model.parameters()), p.rate)
    for step in range(p.steps):
        tasks = make_tasks(p, p.throws, rng)
        error = miss(model(tasks), tasks, p, TRAINING)
        back(error.abs().mean())
        adjust(opt, p.rate * (1 + math.cos(math.pi * step / p.steps)) / 2)
        opt()
        yield error.detach()


# What a network is compared with: each aim found by itself, through the same simulation.


def optimise(task, p):
    """BFGS from 45 degrees and 200 pounds: the error, the number of throws and the seconds."""
    (low, high), (light, heavy) = p.angles, p.masses
    logit = lambda x: math.log(x / (1 - x))
    first = [logit((45 - low) / (high - low)), logit(math.log(200 * POUND / light) / math.log(heavy / light))]

    def loss(x):
        knobs = torch.tensor(x[None], requires_grad=True)
        error = miss(knobs, task[None], p, TRAINING)
        (slope,) = torch.autograd.grad(error.square().sum(), knobs)
        return error.square().item(), slope[0].numpy()

    clock = time.perf_counter()
    found = minimize(loss, np.array(first), jac=True, method="BFGS", tol=1e-6)
    seconds = time.perf_counter() - clock
    return miss(torch.tensor(found.x[None]), task[None], p, EXACT).abs().item(), found.nfev, seconds


# How long an aim takes: the network by PyTorch, one or many at once, and as machine code.


def compiled(model, p):
    """The network as a function of two floats in machine code."""
    (w1, b1), (w2, b2), (w3, b3) = [(x.weight.detach().numpy(), x.bias.detach().numpy()) for x in list(model)[1:]]
    centre, reach, wind = (p.near + p.far) / 2, (p.far - p.near) / 2, p.wind
    (low, high), (light, heavy) = p.angles, p.masses

    @native
    def aim(target, tail):
        x = np.array([(target - centre) / reach, tail / wind])
        knobs = w3 @ np.tanh(w2 @ np.tanh(w1 @ x + b1) + b2) + b3
        angle, mass = 1 / (1 + np.exp(-knobs[0])), 1 / (1 + np.exp(-knobs[1]))
        return math.radians(low + (high - low) * angle), light * (heavy / light) ** mass

    return aim


def seconds_of(f, calls):
    """The least of five measurements."""
    f()
    clocks = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(calls):
            f()
        clocks.append((time.perf_counter() - start) / calls)
    return min(clocks)


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    model = make_model(p)
    train = {"gauss-newton": gauss_newton, "adam": adam}[p.rule]
    clock, processor = time.perf_counter(), time.process_time()
    history = []
    with tqdm(train(model, p, torch.Generator().manual_seed(p.seed)), total=p.steps, unit="step") as bar:
        for error in bar:
            history.append(error.abs().mean().item())
            bar.set_postfix(error=f"{100 * history[-1]:.4f} %")
    seconds, processor = time.perf_counter() - clock, time.process_time() - processor

    tasks = make_tasks(p, p.tests, torch.Generator().manual_seed(p.seed + 1))
    with torch.no_grad():
        error = miss(model(tasks), tasks, p, EXACT).abs()  # (tests,)
        one, many, fast = tasks[:1], tasks[:1].repeat(1000, 1), compiled(model, p)
        clocks = {
            "PyTorch": seconds_of(lambda: aimed(model(one), one, p), 200),
            "PyTorch, each of 1000 together": seconds_of(lambda: aimed(model(many), many, p), 20) / 1000,
            "machine code": seconds_of(lambda: fast(50.0, 2.0), 2000),
        }
    each = [optimise(task, p) for task in tqdm(tasks[: p.optimised], desc="one by one", unit="aim")]
    torch.set_num_threads(torch_threads)
    draw(lambda tasks: aimed(model(tasks), tasks, p), tasks, error, history, p, out / "trebuchet.png")
    return {
        "training": {
            "seconds": seconds,
            "processor_seconds": processor,
            "throws": p.steps * p.throws,
            "errors": history,
        },
        "held out": {"mean_error": error.mean().item(), "worst_error": error.max().item(), "tasks": p.tests},
        "seconds of an aim": clocks,
        "one by one": {
            name: float(np.mean(x)) for name, x in zip(("error", "throws", "seconds"), zip(*each), strict=True)
        },
    }


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    training, tested = results["training"], results["held out"]
    print(
        f"{training['throws']} throws in {training['seconds']:.0f} s ({training['processor_seconds']:.0f} s of processor)"
    )
    print(
        f"held-out tasks: off by {tested['mean_error']:.4%} of the distance on average, {tested['worst_error']:.3%} at worst"
    )
    for name, seconds in results["seconds of an aim"].items():
        print(f"an aim by {name}: {1e6 * seconds:.1f} µs")
    print("an aim by BFGS: {error:.2e} off after {throws:.1f} throws, {seconds:.2f} s".format(**results["one by one"]))
