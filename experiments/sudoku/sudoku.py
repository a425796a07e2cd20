"""A quadratic program as a layer learns the rules of 4x4 sudoku from solved boards alone.

The task of OptNet (Amos & Kolter, 2017). A puzzle is 64 numbers x, one for each digit in each cell. The layer's answer
is the y ≥ 0 that agrees with it best, with q/2 |y|² as a tie-break, under 40 equations A y = A s:

    minimise  q/2 |y|² - x·y   subject to   A y = A s,  y ≥ 0

A and s > 0 are learned; that s satisfies the equations keeps them consistent. Nothing says what a row, a column or a
box is. The 288 grids are two kinds: symmetries (other digits, rows, columns, the transpose) never lead from one to the
other. The layer is trained on one kind, and has to solve puzzles of the other. Networks of two designs do the same.
"""

from dataclasses import dataclass, field
from math import cos, pi
from pathlib import Path
from statistics import mean
from typing import Literal

import torch
from boards import BOARDS, IS_LARGER, make_puzzles
from picture import draw
from torch.nn.functional import normalize
from tqdm import trange

from torchflux import Adam, Chain, Conv, Dense, adjust, back, flatten, logitcrossentropy, relu, trainables
from torchflux_optlayers import solve_qp

# Of a reproduction: as far as the seeds are apart.
TOLERANCES = {"rules known*": None, "*": (0, 0.06)}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "the first of the seeds"})
    seeds: int = field(default=3, metadata={"help": "how many runs stand behind each number"})
    puzzles: int = field(default=4000, metadata={"help": "for training"})
    tests: int = field(default=300, metadata={"help": "puzzles of each kind of test"})
    kind: Literal["larger", "smaller"] = field(default="larger", metadata={"help": "of the grids for training"})
    equations: int = 40
    q: float = field(default=0.15, metadata={"help": "the tie-break's weight"})
    steps: int = field(default=600, metadata={"help": "of the layer, with 32 puzzles each"})
    rate: float = field(default=0.1, metadata={"help": "of the layer's Adam, at first; all fall to zero"})
    epochs: int = field(default=25, metadata={"help": "of the networks, with 100 puzzles a step"})
    every: int = field(default=50, metadata={"help": "steps between two looks"})


# The two ways to an answer: the layer, and networks.


class Rules:
    """The layer, for some equations A (m, 64), and log s (64,)."""

    def __init__(self, A, log_s, q):
        self.A, self.log_s, self.q = A, log_s, q

    def __call__(self, x):
        eye, zeros = torch.eye(64).double(), torch.zeros(64).double()
        # Solved boards are corners where many rows are almost active: the tolerance has to tell which ones are.
        return solve_qp(self.q * eye, -x, -eye, zeros, self.A, self.A @ self.log_s.exp(), tol=1e-12).x


def true_rules():
    """Each cell has one digit; each row, column and box has each digit once: (64, 64), of rank 40."""
    of = torch.eye(64).double().view(4, 4, 4, 64)  # row, column, digit
    boxes = of.view(2, 2, 2, 2, 4, 64).sum((1, 3))
    return torch.cat([group.reshape(16, 64) for group in (of.sum(2), of.sum(1), of.sum(0), boxes)])


def found_by_algebra(boards, q):
    """For comparison: all equations that solved boards satisfy."""
    _, values, V = torch.linalg.svd(boards - boards.mean(0))
    return Rules(V[(values > 1e-9).sum() :], boards.mean(0).log(), q)


def train_layer(puzzles, tests, p, rng):
    A = torch.rand(p.equations, 64, generator=rng, dtype=torch.float64).requires_grad_()
    layer = Rules(A, torch.full((64,), 0.25).double().log().requires_grad_(), p.q)
    opt, (x, y), looks, before = Adam([A, layer.log_s], p.rate), puzzles, [], A.detach().clone()
    for step in (bar := trange(1, p.steps + 1, unit="step", desc="layer")):
        i = torch.randint(len(x), (32,), generator=rng)
        back(loss := (layer(x[i]) - y[i]).square().mean())
        adjust(opt, p.rate * (1 + cos(pi * step / p.steps)) / 2)
        opt()
        if step % p.every == 0 or step == p.steps:
            with torch.no_grad():
                looks.append((step, *(share_solved(layer, *test) for test in tests), *known(A.detach())))
            bar.set_postfix(loss=f"{loss.item():.4f}", held_out=f"{looks[-1][2]:.3f}")
    return before, layer, looks


def dense():
    return Chain(Dense(64, 256, relu), Dense(256, 256, relu), Dense(256, 64))


def convolutional():
    board = lambda x: x.view(-1, 4, 4, 4).permute(0, 3, 1, 2)  # digits are channels
    hidden = [Conv((3, 3), 64, 64, relu, pad=1) for _ in range(4)]
    return Chain(board, Conv((3, 3), 4, 64, relu, pad=1), *hidden, flatten, Dense(1024, 64))


NETWORKS = {"dense": dense, "convolutional": convolutional}


def train_network(make, puzzles, p, rng):
    torch.manual_seed(rng.initial_seed())
    model, (x, y) = make().float(), (puzzles[0].float(), puzzles[1].view(-1, 16, 4).argmax(2))
    opt = Adam(trainables(model), 0.001)
    for epoch in trange(p.epochs, unit="epoch", desc=make.__name__):
        for i in torch.randperm(len(x), generator=rng).split(100):
            back(logitcrossentropy(model(x[i]).view(-1, 16, 4), y[i]))
            adjust(opt, 0.001 * (1 + cos(pi * epoch / p.epochs)) / 2)
            opt()
    return lambda x: model(x.float())


# The measures.


def share_solved(answer, x, y):
    """Of how many puzzles every cell is right."""
    digits = lambda board: board.view(-1, 16, 4).argmax(2)
    return (digits(answer(x)) == digits(y)).all(1).double().mean().item()


def known(A):
    """How much of the true rules lies in the learned ones: the mean squared cosine, for cells, rows, columns, boxes."""
    basis = torch.linalg.qr(A.T).Q  # (64, m)
    rules = normalize(true_rules(), dim=1)
    return (rules @ basis).square().sum(1).view(4, 16).mean(1).tolist()


@torch.no_grad()
def run(seed, p):
    """One seed: shares of puzzles solved, of seen and of held-out grids; looks; a puzzle; the equations."""
    rng = torch.Generator().manual_seed(seed)
    is_seen = IS_LARGER if p.kind == "larger" else ~IS_LARGER
    seen, held_out = is_seen.nonzero()[:, 0], (~is_seen).nonzero()[:, 0]
    puzzles = make_puzzles(seen, p.puzzles, rng)
    tests = [make_puzzles(which, p.tests, rng) for which in (seen, held_out)]
    with torch.enable_grad():
        before, layer, looks = train_layer(puzzles, tests, p, rng)
        answers = {"layer": layer, **{who: train_network(make, puzzles, p, rng) for who, make in NETWORKS.items()}}
    answers["equations by algebra"] = found_by_algebra(BOARDS[seen], p.q)
    answers["true rules"] = Rules(true_rules(), torch.full((64,), 0.25).double().log(), p.q)
    scores = {who: [share_solved(answer, *test) for test in tests] for who, answer in answers.items()}
    x, y = (each[:1] for each in tests[1])
    boards = {"puzzle": x, "solution": y, **{who: answer(x).double() for who, answer in answers.items()}}
    return scores, looks, boards, {"before": before, "learned": layer.A.detach(), "true": true_rules()}


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    runs = [run(p.seed + k, p) for k in range(p.seeds)]
    draw(runs, out / "sudoku.png")
    torch.set_num_threads(torch_threads)
    results = {}
    for who in runs[0][0]:
        seen, held_out = zip(*(scores[who] for scores, *_ in runs), strict=True)
        results[who] = {"seen": seen, "held out": held_out, "mean": [mean(seen), mean(held_out)]}
    return results | {"rules known": [looks[-1][3:] for _, looks, *_ in runs]}


if __name__ == "__main__":
    for who, row in main(Parameters(), Path(__file__).parent).items():
        print(f"{who:22}", row)
