"""Images for where CIFAR-10's are not, in files of the same format: ten shapes of any colour, place and size."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

SIDE = 32
SHAPES = ("disc", "ring", "square", "frame", "triangle", "plus", "cross", "rows", "columns", "checks")


def write(folder: Path, train: int, test: int, seed: int) -> None:
    """`data_batch_1.bin` to `data_batch_5.bin`, which share the training images, and `test_batch.bin`.

    A record is one byte, the class, and 3 x 32 x 32 bytes: the red pixels row by row, the green ones, the blue ones.
    Source: https://www.cs.toronto.edu/~kriz/cifar.html, "binary version".
    """
    rng = torch.Generator().manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in sizes(train, test):
        classes = torch.randint(len(SHAPES), (n,), generator=rng)
        records = torch.cat([classes.to(torch.uint8)[:, None], images(classes, rng).flatten(1)], 1)  # (n, 1 + 3072)
        (folder / name).write_bytes(records.numpy().tobytes())


def sizes(train: int, test: int) -> Iterator[tuple[str, int]]:
    """The files' names, and how many images each has."""
    for k in range(5):
        yield f"data_batch_{k + 1}.bin", len(range(k, train, 5))
    yield "test_batch.bin", test


def images(classes: Tensor, rng: torch.Generator) -> Tensor:
    """A shape of each class, in a colour before another one, with noise: uint8 (n, 3, 32, 32)."""
    n = len(classes)
    uniform = lambda low, high, *shape: low + (high - low) * torch.rand(n, *shape, generator=rng)
    inside = masks(classes, uniform(-4, 4, 2), uniform(7, 11))[:, None].float()  # (n, 1, 32, 32)
    back = uniform(0.1, 0.9, 3, 1, 1)
    front = torch.where((back > 0.5) ^ (uniform(0, 1, 3, 1, 1) < 0.2), back - 0.3, back + 0.3)  # a contrast somewhere
    noise = 0.08 * torch.randn(n, 3, SIDE, SIDE, generator=rng)
    return ((back + inside * (front - back) + noise).clamp(0, 1) * 255).round().to(torch.uint8)


def masks(classes: Tensor, centre: Tensor, radius: Tensor) -> Tensor:
    """Which pixels belong to the shape: bool (n, 32, 32), of centres (n, 2) from the middle and radii (n,)."""
    line = torch.arange(SIDE) - (SIDE - 1) / 2
    y, x = ((line - c[:, None]) / radius[:, None] for c in centre.T)  # (n, 32) each; the shape reaches from -1 to 1
    y, x = y[:, :, None], x[:, None, :]
    far, round_ = torch.maximum(y.abs(), x.abs()), (y.square() + x.square()).sqrt()
    bars = lambda z: (z * 2.5).floor() % 2 == 0
    each = {
        "disc": round_ < 1,
        "ring": (round_ < 1) & (round_ > 0.55),
        "square": far < 0.85,
        "frame": (far < 0.85) & (far > 0.45),
        "triangle": (y < 0.8) & (x.abs() < (y + 1) / 1.8),
        "plus": (torch.minimum(y.abs(), x.abs()) < 0.3) & (far < 1),
        "cross": (torch.minimum((y - x).abs(), (y + x).abs()) < 0.4) & (far < 0.85),
        "rows": bars(y) & (far < 1),
        "columns": bars(x) & (far < 1),
        "checks": (bars(x) ^ bars(y)) & (far < 1),
    }
    stack = torch.stack([mask.expand(len(classes), SIDE, SIDE) for mask in each.values()], 1)
    return stack[torch.arange(len(classes)), classes]
