"""A neural ODE learns a spiral: torchdiffeq's demonstration, trained by both libraries side by side.

The spiral is y' = A y³ from (2, 0). A network of y³ is to be that slope. It never sees the slope, and no more of the
spiral at once than 20 pieces of 10 neighbouring points: from the first point of each, the other nine are to be met.
Both libraries start with the same weights, see the same pieces and solve to the same tolerances, in turns.
"""

import math
import time
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace

import torch
from picture import draw
from tqdm import tqdm

from torchflux import Adam, Chain, Dense, adjust, back, tanh, trainables
from torchflux_diffeq import PID, Dopri5, autonomous, solve
from torchflux_lab import Checkpoint, Metrics

try:
    from torchdiffeq import odeint
except ImportError:  # then there is nothing to compare with
    odeint = None

# Of a reproduction. Rounding as another processor does it moves the errors by 1e-6 in 600 steps.
TOLERANCES = {"*seconds": None, "*processor": None, "*.errors": 1e-3, "*": 1e-4}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "of the weights and of the pieces"})
    steps: int = field(default=3000, metadata={"help": "of the optimiser"})
    pieces: int = field(default=20, metadata={"help": "in a batch"})
    length: int = field(default=10, metadata={"help": "points in a piece"})
    points: int = field(default=1000, metadata={"help": "of the whole spiral"})
    end: float = field(default=25.0, metadata={"help": "the last time"})
    hidden: int = 50
    rate: float = 0.03
    rtol: float = 1e-6
    atol: float = 1e-8
    every: int = field(default=150, metadata={"help": "steps between two looks at all of it"})
    goal: float = field(default=0.005, metadata={"help": "error of the pieces that is to be reached"})


A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]], dtype=torch.float64)


def make_model(p):
    torch.manual_seed(p.seed)
    small = lambda *shape: 0.1 * torch.randn(*shape)
    return Chain(lambda y: y**3, Dense(2, p.hidden, tanh, init=small), Dense(p.hidden, 2, init=small)).double()


# One solution, by either library: states y0 (n, 2) at the times ts (t,) become (t, n, 2). A chain of dense layers as
# the slope takes the first one through machine code, which is compiled in the first steps.


def by_torchflux(net, y0, ts, p):
    return solve(autonomous(net), y0, ts, solver=Dopri5(), controller=PID(p.rtol, p.atol), batched=True).ys


def by_torchdiffeq(net, y0, ts, p):
    return odeint(lambda t, y: net(y), y0, ts, rtol=p.rtol, atol=p.atol, method="dopri5")


class Run:
    """The training by one of the libraries."""

    def __init__(self, solution, truth, ts, p):
        self.solution, self.truth, self.ts, self.p = solution, truth, ts, p
        self.net = make_model(p)
        self.opt = Adam(trainables(self.net), p.rate)
        self.rng = torch.Generator().manual_seed(p.seed)
        self.so_far = SimpleNamespace(steps=0, seconds=0.0, processor=0.0, looks=[self.look()])
        self.state = [self.net, self.opt, self.rng, self.so_far]  # all that the training changes

    def train(self, steps):
        clock, processor, so_far = time.perf_counter(), time.process_time(), self.so_far
        for _ in range(steps):
            back(self.loss(torch.randint(len(self.truth) - self.p.length, (self.p.pieces,), generator=self.rng)))
            adjust(self.opt, self.p.rate * (1 + math.cos(math.pi * so_far.steps / self.p.steps)) / 2)
            self.opt()
            so_far.steps += 1
        so_far.seconds += time.perf_counter() - clock
        so_far.processor += time.process_time() - processor
        so_far.looks.append(self.look())

    def loss(self, first):
        """The mean squared error of the pieces that begin at these points (n,)."""
        piece = torch.stack([self.truth[first + i] for i in range(self.p.length)])  # (length, n, 2)
        return (self.solution(self.net, piece[0], self.ts[: self.p.length], self.p) - piece).square().mean()

    def whole(self):
        """The spiral as the network has it, from its first point alone, (points, 2)."""
        with torch.no_grad():
            return self.solution(self.net, self.truth[:1], self.ts, self.p)[:, 0]

    def look(self):
        """The root mean square error of all pieces, and that of the whole spiral."""
        with torch.no_grad():
            pieces = self.loss(torch.arange(len(self.truth) - self.p.length))
            return pieces.sqrt().item(), (self.whole() - self.truth).square().mean().sqrt().item()


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    ts = torch.linspace(0.0, p.end, p.points, dtype=torch.float64)
    start = torch.tensor([2.0, 0.0], dtype=torch.float64)
    truth = solve(lambda t, y, args: y**3 @ A, start, ts, controller=PID(1e-9, 1e-11)).ys  # (points, 2)
    runs = {"torchflux": Run(by_torchflux, truth, ts, p)}
    if odeint is not None:
        runs["torchdiffeq"] = Run(by_torchdiffeq, truth, ts, p)
    metrics, checkpoint = Metrics(out), Checkpoint(out, **{name: run.state for name, run in runs.items()})
    for before in (bar := tqdm(checkpoint.steps(range(0, p.steps, p.every)), unit=f"{p.every} steps")):
        for name, run in runs.items():
            run.train(min(p.every, p.steps - before))
            pieces, whole = run.so_far.looks[-1]
            metrics(step=run.so_far.steps, library=name, pieces=pieces, whole=whole)
        bar.set_postfix(error=f"{runs['torchflux'].so_far.looks[-1][0]:.1e}")
    torch.set_num_threads(torch_threads)
    draw(ts, truth, runs, p, out / "spiral.png")
    return {name: summary(run) for name, run in runs.items()}


def summary(run):
    """Root mean square errors at the end, and after how many steps that of the pieces stayed below the goal."""
    so_far = run.so_far
    pieces, whole = zip(*so_far.looks, strict=True)
    met = sum(1 for _ in takewhile(lambda error: error < run.p.goal, reversed(pieces)))
    after = min((len(pieces) - met) * run.p.every, run.p.steps) if met else None
    numbers = {"pieces": pieces[-1], "whole": whole[-1], "goal_after": after}
    return numbers | {
        "seconds": round(so_far.seconds, 2),
        "processor": round(so_far.processor, 2),
        "errors": so_far.looks,
    }


if __name__ == "__main__":
    for name, row in main(Parameters(), Path(__file__).parent).items():
        print(f"{name:12} {row['seconds']:.1f} s ({row['processor']:.1f} s of processor)", end="   ")
        print(f"error of the pieces {row['pieces']:.1e}, of the whole spiral {row['whole']:.3f}")
