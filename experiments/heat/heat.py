"""Heat in a rod, with its ends and its beginning as named conditions: Adam, then BFGS, and the exact solution.

u_t = 0.4 u_xx on [0, 1], from u = sin πx, and u = 0 at both ends: DeepXDE's example, with its network (3 layers of 20)
and its numbers of points. The solution is exp(-0.4 π² t) sin πx.
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from torchflux import Adam, adjust, back, trainables
from torchflux_lab import Checkpoint, Metrics
from torchflux_physics import BFGS, Dirichlet, Initial, Interval, Problem, compiled, perceptron, relative_error
from torchflux_physics.plots import side_by_side

# Of a reproduction: the order of magnitude. Thousands of steps of BFGS carry another rounding into the result.
TOLERANCES = {"error": 0.8, "worst": 0.8, "*": None}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "of the weights and of the points"})
    width: int = field(default=20, metadata={"help": "of the three hidden layers"})
    points: int = field(default=2540, metadata={"help": "in the rod; there are 80 at its ends, 160 at the beginning"})
    steps: int = field(default=500, metadata={"help": "of Adam"})
    rate: float = field(default=0.005, metadata={"help": "of Adam, at first; it falls to zero"})
    iterations: int = field(default=1500, metadata={"help": "of BFGS, at most"})
    compiled: bool = field(default=True, metadata={"help": "the losses, which takes ten seconds and pays after that"})


K = 0.4
ROD = Interval("x", 0, 1) * Interval("t", 0, 1)
PROBLEM = Problem(
    ROD,
    {"heat": lambda u: u.t - K * u.xx},
    {
        "ends": Dirichlet("u", 0.0, on=ROD.boundary),
        "beginning": Initial("u", lambda x: torch.sin(math.pi * x), on=ROD.start),
    },
)


def exact(x: Tensor, t: Tensor) -> Tensor:
    """u(x, t), all (n,)."""
    return torch.exp(-K * math.pi**2 * t) * torch.sin(math.pi * x)


def train(model, p, out):
    """The losses at last, by name; the metrics have them as they fall."""
    rng = torch.Generator().manual_seed(p.seed)
    counts = {"heat": p.points, "ends": 80, "beginning": 160}
    batch = PROBLEM.sample(counts, generator=rng, method="sobol", dtype=torch.float64)
    losses, opt, metrics = compiled(PROBLEM) if p.compiled else PROBLEM, Adam(trainables(model), p.rate), Metrics(out)
    for step in tqdm(Checkpoint(out, "Adam", net=model, opt=opt).steps(p.steps, 100), desc="Adam"):
        found = losses(model, batch)
        back(PROBLEM.total(found))
        adjust(opt, p.rate * (1 + math.cos(math.pi * step / p.steps)) / 2)
        opt()
        if step % 100 == 0:
            metrics(step=step, **{name: loss.item() for name, loss in found.items()})
    bar = tqdm(total=p.iterations, desc="BFGS")

    def seen(iteration, loss):
        bar.update()
        if iteration % 100 == 0:
            metrics(step=p.steps + iteration, total=loss)

    for _ in Checkpoint(out, "BFGS", net=model).steps(1):
        BFGS(model)(lambda: PROBLEM.total(losses(model, batch)), p.iterations, seen=seen)
    return {name: loss.item() for name, loss in losses(model, batch).items()}


def main(parameters: Parameters, out: Path) -> dict:
    p, threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    torch.manual_seed(p.seed)
    model, begun = perceptron(2, p.width, 3).double(), time.process_time()
    losses = train(model, p, out)
    seconds = time.process_time() - begun
    x = t = torch.linspace(0, 1, 101).double()
    grid = torch.cartesian_prod(x, t)
    truth = exact(*grid.T)
    with torch.no_grad():
        u = model(grid)[:, 0]
    picture = side_by_side({"x": x, "t": t}, truth.view(101, 101), u.view(101, 101), moments=(0, 0.1, 0.3, 1))
    picture.savefig(out / "heat.png", dpi=100)
    torch.set_num_threads(threads)
    worst = (u - truth).abs().max().item()
    return {"error": relative_error(u, truth), "worst": worst, "losses": losses, "seconds": round(seconds, 1)}


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    print(f"relative error {results['error']:.1e}, worst {results['worst']:.1e}, {results['seconds']} s of processor")
