"""Local SGD on handwritten digits: two processes that average their weights now and then, against DDP.

DDP averages the gradients of every step. Local SGD (Stich 2019) lets each process go its own way for some steps and
averages the weights then, so that less is sent. Both see the same batches, half of each in either process.

    torchflux run local-sgd --nproc 2
"""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from picture import draw
from sklearn.datasets import load_digits
from tqdm import tqdm

from torchflux import Chain, Dense, Descent, back, logitcrossentropy, relu, trainables
from torchflux_lab import Metrics, Workers

TOLERANCES = {"*": 1e-2}  # of a reproduction: a rounding elsewhere may turn a digit or two


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "of the weights, the split and the batches"})
    steps: int = 1024
    batch: int = field(default=32, metadata={"help": "digits in a step, in all processes together"})
    hidden: int = 64
    rate: float = 0.2
    apart: tuple[int, ...] = field(
        default=(1, 4, 16, 64), metadata={"help": "steps between averages, of each local SGD"}
    )
    every: int = field(default=32, metadata={"help": "steps between two looks"})


# The algorithm: a step of its own in each process, and every so often the mean of the weights, in one message.


class LocalSGD:
    def __init__(self, model, p, workers, apart):
        self.model, self.opt = model, Descent(trainables(model), p.rate)
        self.workers, self.apart = workers, apart
        self.so_far = SimpleNamespace(steps=0, sent=0, looks=[])

    def step(self, x, y):
        back(logitcrossentropy(self.model(x), y))
        self.opt()
        self.so_far.steps += 1
        if self.so_far.steps % self.apart == 0:
            self.average()

    def average(self):
        weights = [w.detach() for w in trainables(self.model)]
        message = torch.cat([w.flatten() for w in weights])
        if self.workers.world > 1:
            dist.all_reduce(message)  # the sum
        self.so_far.sent += bytes_sent(message.nbytes, self.workers.world)
        for w, mean in zip(weights, message.split([w.numel() for w in weights]), strict=True):
            w.copy_(mean.view_as(w) / self.workers.world)


class DDP:
    """PyTorch's own: the gradients are averaged while they are computed."""

    def __init__(self, model, p, workers):
        self.model = workers.ddp(model)
        self.opt, self.workers = Descent(trainables(model), p.rate), workers
        self.so_far = SimpleNamespace(steps=0, sent=0, looks=[])

    def step(self, x, y):
        back(logitcrossentropy(self.model(x), y))
        self.opt()
        self.so_far.steps += 1
        self.so_far.sent += bytes_sent(sum(w.nbytes for w in self.model.parameters()), self.workers.world)


def bytes_sent(size, world):
    """By each of the processes in the sum of a message by a ring (Patarasuk and Yuan 2009)."""
    return round(2 * (world - 1) / world * size)


def make_model(p):
    torch.manual_seed(p.seed)
    return Chain(Dense(64, p.hidden, relu), Dense(p.hidden, 10))


def digits(rng):
    """(1797, 64) from 0 to 1 and (1797,): 1,347 to learn from, 450 to be tested with."""
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(x), generator=rng)
    x, y = (torch.tensor(x, dtype=torch.float32) / 16)[order], torch.tensor(y)[order]
    return x[:1347], y[:1347], x[1347:], y[1347:]


def look(method, x, y, workers):
    """Accuracy in the test, the mean over the processes, whose weights differ between two averages."""
    with torch.no_grad():
        right = (method.model(x).argmax(1) == y).float().mean()
    accuracy = workers.mean(right).item()
    method.so_far.looks.append((method.so_far.steps, method.so_far.sent, accuracy))
    return accuracy


def main(parameters: Parameters, out: Path) -> dict:
    p, workers, metrics = parameters, Workers(out), Metrics(out)
    rng = torch.Generator().manual_seed(p.seed)
    x, y, test_x, test_y = (part.to(workers.device) for part in digits(rng))
    methods = {"ddp": DDP(make_model(p), p, workers)}
    methods |= {f"local-{apart}": LocalSGD(make_model(p).to(workers.device), p, workers, apart) for apart in p.apart}
    state = {f"{name} {key}": getattr(m, key) for name, m in methods.items() for key in ("model", "opt", "so_far")}
    for step in tqdm(workers.steps(p.steps, every=p.every, rng=rng, **state), total=p.steps):
        mine = workers.share(torch.randint(len(x), (p.batch,), generator=rng))
        for name, method in methods.items():
            method.step(x[mine], y[mine])
            if (step + 1) % p.every == 0 or step + 1 == p.steps:
                metrics(step=step + 1, method=name, accuracy=look(method, test_x, test_y, workers))
    draw({name: method.so_far.looks for name, method in methods.items()}, workers.world, out / "local-sgd.png")
    return {name: {"accuracy": m.so_far.looks[-1][2], "sent": m.so_far.sent} for name, m in methods.items()}


if __name__ == "__main__":
    for name, row in main(Parameters(), Path(__file__).parent).items():
        print(f"{name:10} accuracy {row['accuracy']:.3f}   {row['sent']:,} bytes sent by each process")
