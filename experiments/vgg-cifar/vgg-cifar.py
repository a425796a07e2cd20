"""A VGG with batch normalisation for CIFAR-10's images; without its files for generated ones, and it says so.

The files are given by `folder=`, and fetched into it if `download=true` is asked for. Without a folder the same script
writes files of the same format, with ten shapes of its own in place of CIFAR's ten classes, and reads and learns those:
the results are called "stand-in" then, and say nothing of CIFAR-10.
"""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import torch
from picture import draw
from standin import SHAPES, write
from tqdm import tqdm

import metalhead as mh
from torchflux import AdamW, Chain, DataLoader, Dense, Dropout, adjust, back, logitcrossentropy, trainables
from torchflux_lab import Checkpoint, Metrics

# Of a reproduction: rounding, as another processor does it, turns an image or two of those that are in doubt.
TOLERANCES = {"*.accuracy": (0, 0.01), "*by class.*": (0, 0.06), "seconds": None}


@dataclass
class Parameters:
    folder: str = field(default="", metadata={"help": "with CIFAR-10's binary files; none: generated images"})
    download: bool = field(default=False, metadata={"help": "CIFAR-10 into the folder, 162 MB"})
    seed: int = field(default=0, metadata={"help": "of the weights, the draws and the generated images"})
    repeats: tuple[int, ...] = field(default=(1, 1, 1), metadata={"help": "convolutions; 2,2,3,3,3 makes a VGG-16"})
    dropout: float = 0.3
    epochs: int = 8
    batch: int = 50
    rate: float = field(default=0.002, metadata={"help": "of AdamW, at first; it falls to zero"})
    decay: float = 0.01
    train: int = field(default=2000, metadata={"help": "generated images"})
    test: int = field(default=500, metadata={"help": "generated images that are held out"})
    workers: int = field(default=0, metadata={"help": "processes that read images"})
    device: str = "cpu"

    def __post_init__(self):
        if self.download and not self.folder:
            raise ValueError("download=true needs a folder to put CIFAR-10 into: folder=data, say")


CIFAR = 50_000, 10_000  # images to learn from and to judge by
MISSING = """
  THESE ARE NOT CIFAR-10's IMAGES, but generated ones in files of the same format: ten shapes.
  For CIFAR-10: torchflux run vgg-cifar --set folder=FOLDER --set download=true
  (or put cifar-10-batches-bin there, from cifar-10-binary.tar.gz of https://www.cs.toronto.edu/~kriz/cifar.html).
"""
# Mean and deviation of CIFAR-10's training images; padding with 0 is padding with the mean.
PREPROCESS = mh.Preprocess(size=32, crop=32, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
AUGMENT = mh.Augment(mh.Flip(), mh.RandomCrop(32, pad=4))


def read(p):
    """What the images are called, and the images; only those of the right number are called CIFAR-10."""
    if p.folder:
        parts = mh.cifar10(mh.download("cifar10", p.folder) if p.download else p.folder)
        return (
            "CIFAR-10" if (len(parts.train), len(parts.test)) == CIFAR else f"files of {p.folder}",
            parts,
            parts.labels,
        )
    tqdm.write(MISSING)
    with TemporaryDirectory() as folder:
        write(Path(folder), p.train, p.test, p.seed)
        return "stand-in", mh.cifar10(folder), SHAPES


def vgg(p):
    """Images (n, 3, 32, 32) → scores (n, 10): the paper's convolutions, and one dense layer on their mean."""
    convolutions = mh.backbone(mh.vgg(p.repeats, batchnorm=True, hidden=1))  # → (n, channels, 32 / 2^k, 32 / 2^k)
    channels = (64, 128, 256, 512, 512)[len(p.repeats) - 1]
    return Chain(convolutions, lambda x: x.mean((2, 3)), Dropout(p.dropout), Dense(channels, 10))


def train(model, parts, p, out):
    """The share of test images that is named rightly after each epoch."""
    rng, now, metrics = torch.Generator().manual_seed(p.seed), SimpleNamespace(curve=[]), Metrics(out)
    opt = AdamW(trainables(model), p.rate, decay=p.decay)
    batches = DataLoader(parts.train, p.batch, shuffle=True, generator=rng, num_workers=p.workers, drop_last=True)
    for epoch in (bar := tqdm(Checkpoint(out, model=model, opt=opt, rng=rng, now=now).steps(p.epochs), unit="epoch")):
        for i, (x, y) in enumerate(batches):  # (batch, 3, 32, 32), (batch,)
            adjust(opt, p.rate * (1 + math.cos(math.pi * (epoch + i / len(batches)) / p.epochs)) / 2)
            loss = logitcrossentropy(model(AUGMENT(x.to(p.device), rng)), y.to(p.device))
            back(loss)
            opt()
        guesses, y = judged(model, parts.test, p)
        now.curve.append((guesses == y).float().mean().item())
        metrics(step=epoch, loss=loss, accuracy=now.curve[-1])
        bar.set_postfix(accuracy=f"{now.curve[-1]:.3f}")
    return now.curve


def judged(model, data, p):
    """The model's guesses and the truth, (n,) each."""
    model.eval()
    with torch.no_grad():
        pairs = [(model(x.to(p.device)).argmax(1).cpu(), y) for x, y in DataLoader(data, 250, num_workers=p.workers)]
    model.train()
    return [torch.cat(part) for part in zip(*pairs, strict=True)]


def nearest(parts):
    """The share that the nearest training image names rightly, pixel by pixel: what any network has to beat."""
    (x, y), (x_test, y_test) = (next(iter(DataLoader(part, len(part)))) for part in (parts.train, parts.test))
    return (y[torch.cdist(x_test.flatten(1), x.flatten(1)).argmin(1)] == y_test).float().mean().item()


def main(parameters: Parameters, out: Path) -> dict:
    p, begun = parameters, time.process_time()
    data, raw, labels = read(p)
    parts = raw.map(PREPROCESS)
    torch.manual_seed(p.seed)
    model = vgg(p).to(p.device)
    curve = train(model, parts, p, out)
    guesses, y = judged(model, parts.test, p)
    draw(data, curve, raw.test, labels, guesses, out / "vgg-cifar.png")
    by_class = {label: (guesses[y == k] == k).float().mean().item() for k, label in enumerate(labels) if k in y}
    results = {"accuracy": curve[-1], "by class": by_class}
    if data == "stand-in":
        results["nearest neighbour"] = nearest(parts)
    return {data: results, "images": {"train": len(raw.train), "test": len(raw.test)}, "seconds": seconds(begun)}


def seconds(begun):
    return round(time.process_time() - begun, 1)


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    data, found = next(iter(results.items()))
    print(f"{data}: {found['accuracy']:.1%} of {results['images']['test']} held-out images are named rightly.")
