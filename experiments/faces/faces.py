"""A small residual network tells faces from other images, from few examples, with and without what it learnt before.

Before, it learnt another task: to read digits, or to say which photograph a patch is of. Its weights are loaded into a
network with a fresh head, which is then trained as a whole on 4, 10 or 100 of scikit-image's 200 small images, half of
them faces; 100 others judge. Beside it are the same network from random weights, and logistic regression on pixels.
The gradient of the network's score by the pixels says where it looks.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from errors import gained, summaries, wrong
from looks import saliency, without_tenths
from picture import draw
from sklearn.linear_model import LogisticRegression
from sources import FACES, ISFACE, SOURCES, split
from tqdm import tqdm

import metalhead as mh
from torchflux import Adam, BatchNorm, adjust, back, flatten, logitcrossentropy, trainables
from torchflux_lab import Checkpoint, Metrics

# Of a reproduction: rounding, as another processor does it, turns an image in a hundred here and there.
TOLERANCES = {"errors*": (0, 0.01), "less than*": (0, 0.01), "score*": (0.2, 0.2), "seconds": None}


@dataclass
class Parameters:
    seed: int = field(default=0, metadata={"help": "of the first task; and the first of the splits' seeds"})
    splits: int = field(default=12, metadata={"help": "of the 200 images, 100 of them held out"})
    images: tuple[int, ...] = field(default=(4, 10, 100), metadata={"help": "to learn from, half of them faces"})
    before: int = field(default=150, metadata={"help": "steps of the first task, with 40 images each"})
    looks: tuple[int, ...] = field(default=(25, 100), metadata={"help": "numbers of steps after which it is judged"})
    rate: float = field(default=0.001, metadata={"help": "of Adam, at first; it falls to zero"})


AUGMENT = mh.Augment(mh.Flip(), mh.RandomCrop(25, pad=2))
PLAIN, PIXELS = "random weights", "logistic regression"


def network(nclasses):
    """A ResNet with one block of 64 and one of 128 channels: (n, 1, 25, 25) → (n, nclasses)."""
    model = mh.resnet(mh.Basic, (1, 1), nclasses=nclasses, inchannels=1)
    for norm in (part for part in model.modules() if isinstance(part, BatchNorm)):
        norm.momentum = 1.0  # the running statistics are those of the last batch, which `settled` chooses
    return model


def settled(model, x, rng):
    """The model in evaluation mode, its norms' statistics of 100 images drawn from x, as it is now.

    Running means lag behind weights that change fast: a network that has learnt to tell faces in 25 steps would call
    all images the same with them.
    """
    model.train()
    with torch.no_grad():
        model(AUGMENT(x[torch.randint(len(x), (100,), generator=rng)], rng))
    return model.eval()


def step(model, opt, x, y, batch, rate, rng):
    """One step on images drawn from x (n, 1, 25, 25), mirrored and moved by up to two pixels."""
    model.train()
    adjust(opt, rate)
    i = torch.randint(len(x), (batch,), generator=rng)
    loss = logitcrossentropy(model(AUGMENT(x[i], rng)), y[i])  # of (batch, classes)
    back(loss)
    opt()
    return loss


def learn_before(source, p, metrics, out):
    """The weights that the source's task leaves, and its error on images of it that were held out."""
    torch.manual_seed(p.seed)
    rng = torch.Generator().manual_seed(p.seed)
    x, y = SOURCES[source]()
    order = torch.randperm(len(x), generator=rng)
    learnt, held_out = order[: -len(x) // 5], order[-len(x) // 5 :]
    model = network(int(y.max()) + 1)
    opt = Adam(trainables(model), p.rate)
    for k in tqdm(Checkpoint(out, source, model=model, opt=opt, rng=rng).steps(p.before, 100), desc=source):
        loss = step(model, opt, x[learnt], y[learnt], 40, p.rate * (1 - k / p.before), rng)
        if k % 20 == 0:
            metrics(step=k, of=source, loss=loss)
    wrongly = scores(settled(model, x[learnt], rng), x[held_out]).argmax(1) != y[held_out]
    return model.state_dict(), wrongly.float().mean().item()


def learn(x, y, seed, weights, p):
    """A network that learns to tell faces, from these weights, or from random ones: after each of `looks` steps."""
    torch.manual_seed(seed)
    rng, model = torch.Generator().manual_seed(seed), network(2)
    if weights:
        mh.load_weights(model, weights, adapt=("head",))
    opt = Adam(trainables(model), p.rate)
    for k in range(max(p.looks)):
        step(model, opt, x, y, 20, p.rate * (1 - k / max(p.looks)), rng)
        if k + 1 in p.looks:
            yield k + 1, settled(model, x, rng)


def scores(model, x):
    with torch.no_grad():
        return model(x)


def said(seed, before, p):
    """What each way says of the images held out in this split, (100,), after so many steps on so many images."""
    learnt, held_out = split(seed)
    for n in p.images:
        x, y = FACES[learnt[:n]], ISFACE[learnt[:n]]
        for way, weights in before.items():
            for steps, model in learn(x, y, seed, weights, p):
                yield way, steps, n, scores(model, FACES[held_out]).argmax(1), ISFACE[held_out]
        fit = LogisticRegression(max_iter=1000).fit(flatten(x).numpy(), y.numpy())
        yield PIXELS, max(p.looks), n, torch.tensor(fit.predict(flatten(FACES[held_out]).numpy())), ISFACE[held_out]


def where(before, p):
    """Faces held out, how much each pixel counts for a network that knew photographs, and what it says without them."""
    learnt, held_out = split(p.seed)
    learnt = learnt[: max(p.images)]
    *_, (_, model) = learn(FACES[learnt], ISFACE[learnt], p.seed, before["photographs"], p)
    faces, rng = FACES[held_out][ISFACE[held_out] == 1], torch.Generator().manual_seed(p.seed)
    looks = saliency(model.eval(), faces, rng)
    return faces, looks, without_tenths(model, faces, looks, rng)


def main(parameters: Parameters, out: Path) -> dict:
    p, threads, begun = parameters, torch.get_num_threads(), time.process_time()
    torch.set_num_threads(1)  # the arrays are small
    metrics, counts = Metrics(out), {}
    pairs = {source: learn_before(source, p, metrics, out) for source in SOURCES}
    before = {PLAIN: None} | {source: weights for source, (weights, _) in pairs.items()}
    seeds = [p.seed + k for k in range(p.splits)]
    for seed in tqdm(Checkpoint(out, "splits", counts=counts).steps(seeds), unit="split"):
        for way, steps, n, guesses, truth in said(seed, before, p):
            row = counts.setdefault(f"{steps} steps", {}).setdefault(way, {}).setdefault(f"{n} images", [])
            row.append(torch.bincount(2 * truth + guesses, minlength=4).tolist())  # what it is, and what is said
            metrics(step=n, of=f"{way}, {steps} steps", split=str(seed), error=wrong(row[-1]))
    faces, looks, salient = where(before, p)
    draw(counts, faces, looks, p, out / "faces.png")
    torch.set_num_threads(threads)
    return {
        "errors": summaries(counts),
        "less than from random weights": {
            steps: {source: gained(ways, source, PLAIN) for source in SOURCES} for steps, ways in counts.items()
        },
        "errors of the first task": {source: error for source, (_, error) in pairs.items()},
        "score of faces, and how much of it a tenth of the pixels is": salient,
        "seconds": round(time.process_time() - begun, 1),
    }


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    for steps, ways in results["errors"].items():
        for way, row in ways.items():
            shown = (f"{n}: {100 * e['mean']:.1f} % ± {100 * e['std']:.1f}" for n, e in row.items())
            print(f"{steps:10} {way:20}", *shown, sep="   ")
