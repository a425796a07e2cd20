"""The Python route of torchflux-zygote against PyTorch's own autograd, on networks with one hidden layer.

python benchmarks/zygote_python.py [--rounds N]

The two take turns in one run, in one thread, a few milliseconds each; what is timed is the processor time of the
thread, so that other work on the machine matters little. A ratio is the median over the rounds. Every gradient is
compared with PyTorch's first, and the comparison is shown to refuse one that is off.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from torchflux_zygote import gradient

SIZES = (256, 128, 256, 10), (128, 32, 64, 10), (32, 32, 64, 10)
SPELL = 0.004


def by_functions(w1, b1, w2, b2, x, classes):
    return F.cross_entropy(F.linear(torch.relu(F.linear(x, w1, b1)), w2, b2), classes)


def by_operators(w1, b1, w2, b2, x, y):
    error = torch.tanh(x @ w1.T + b1) @ w2.T + b2 - y
    return (error * error).mean()


def by_module(model, x, classes):
    return F.cross_entropy(model(x), classes)


def programs(batch: int, n_in: int, hidden: int, n_out: int) -> dict[str, tuple[Callable, Callable]]:
    """By name: the gradient by all parameters, ours and PyTorch's."""
    x, y = torch.randn(batch, n_in), torch.randn(batch, n_out)
    classes = torch.randint(0, n_out, (batch,))
    shapes = (hidden, n_in), (hidden,), (n_out, hidden), (n_out,)
    weights = [torch.randn(shape) * 0.1 for shape in shapes]
    leaves = [w.clone().requires_grad_() for w in weights]
    model = nn.Sequential(nn.Linear(n_in, hidden), nn.ReLU(), nn.Linear(hidden, n_out))
    parameters = list(model.parameters())
    return {
        "functions, cross-entropy": (
            lambda: gradient(lambda w1, b1, w2, b2: by_functions(w1, b1, w2, b2, x, classes), *weights),
            lambda: torch.autograd.grad(by_functions(*leaves, x, classes), leaves),
        ),
        "an nn.Sequential, cross-entropy": (
            lambda: tuple(gradient(lambda m: by_module(m, x, classes), model)[0].values()),
            lambda: torch.autograd.grad(by_module(model, x, classes), parameters),
        ),
        "operators, mean of squares": (
            lambda: gradient(lambda w1, b1, w2, b2: by_operators(w1, b1, w2, b2, x, y), *weights),
            lambda: torch.autograd.grad(by_operators(*leaves, x, y), leaves),
        ),
    }


def turns(peers: tuple[Callable, ...], rounds: int) -> list[list[float]]:
    """Seconds per call of each peer, one number a round."""
    calls = []
    for peer in peers:
        for _ in range(30):
            peer()
        start = time.thread_time()
        for _ in range(10):
            peer()
        calls.append(max(1, int(10 * SPELL / (time.thread_time() - start))))
    seconds: list[list[float]] = [[] for _ in peers]
    for _ in range(rounds):
        for i, peer in enumerate(peers):
            start = time.thread_time()
            for _ in range(calls[i]):
                peer()
            seconds[i].append((time.thread_time() - start) / calls[i])
    return seconds


def compare(ours: tuple[torch.Tensor, ...], theirs: tuple[torch.Tensor, ...]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    try:
        torch.testing.assert_close(ours[0] * 1.001 + 1e-5, theirs[0], rtol=1e-4, atol=1e-6)
    except AssertionError:
        return
    raise AssertionError("the comparison takes a wrong gradient for a right one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=101)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| batch, in, hidden, out | program | ours | PyTorch's | ratio (quartiles) |\n|---|---|---:|---:|---:|")
    for size in SIZES:
        for name, (ours, theirs) in programs(*size).items():
            compare(ours(), theirs())
            mine, others = turns((ours, theirs), rounds)
            low, middle, high = statistics.quantiles([a / b for a, b in zip(mine, others, strict=True)], n=4)
            times = " | ".join(f"{statistics.median(s) * 1e6:.0f} µs" for s in (mine, others))
            print(f"| {', '.join(map(str, size))} | {name} | {times} | {middle:.2f} ({low:.2f} to {high:.2f}) |")


if __name__ == "__main__":
    main()
