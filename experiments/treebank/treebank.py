"""A recursive network reads sentences as trees: the function that calls itself is the model.

A grammar writes sentences about films, with the sentiment of every phrase: adverbs strengthen or weaken, `not` and
`nobody says` turn it round, `but` lets the last word decide. The network makes a vector of each word, and of two
vectors that of the phrase which they form. Tests are new sentences: put together as those of the training, in two ways
of which it had none, and of twice the height. Beside it two other readers learn from the same phrases:

    memory   an LSTM that reads the tree word by word, with a mark that joins the last two phrases into one
    bag      a network that sees how often each word stands in the phrase
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from grammar import CODES, RARE, WORDS, rare, treebank
from others import Bag, Memory
from picture import draw
from tqdm import tqdm

from torchflux import Adam, Dense, Embedding, adjust, back, logitcrossentropy, tanh, trainables, treelike
from torchflux_lab import Checkpoint, Metrics

# Of a reproduction. Elsewhere rounded, the memory puts together differently what it has never seen.
TOLERANCES = {"*.recursive.*": 0.05, "*.memory.nobody*": 0.5, "*": 0.1}


@dataclass
class Parameters:
    seed: int = 0
    trees: int = field(default=1000, metadata={"help": "of the training, 3 to 5 high"})
    tests: int = field(default=300, metadata={"help": "trees of each test"})
    highest: int = field(default=10, metadata={"help": "trees of the tests"})
    size: int = field(default=32, metadata={"help": "of the vectors"})
    epochs: int = 40
    batch: int = 20
    rate: float = field(default=0.005, metadata={"help": "of Adam, at first; it falls to zero"})


HEIGHTS = 3, 4, 5  # of the training


# The readers, from trees to (phrases, 5) logits: all phrases of a tree, in the order of `Tree.phrases`.


@treelike
class Recursive:
    def __init__(self, size):
        self.word = Embedding(len(WORDS), size)
        self.combine = Dense(2 * size, size, tanh)
        self.sentiment = Dense(size, 5)

    def embed(self, tree, seen):
        """The vector of a tree; it is seen after those of its parts."""
        if tree.parts:
            vector = self.combine(torch.cat([self.embed(part, seen) for part in tree.parts]))
        else:
            vector = self.word(CODES[tree.word])
        seen.append(vector)
        return vector

    def __call__(self, trees):
        seen = []
        for tree in trees:
            self.embed(tree, seen)
        return self.sentiment(torch.stack(seen))


READERS = {"recursive": Recursive, "memory": Memory, "bag": Bag}


def labels(trees):
    """(phrases,): 0 to 4 for -2 to 2."""
    return torch.tensor([phrase.label + 2 for tree in trees for phrase in tree.phrases])


def train(name, trees, p, out):
    torch.manual_seed(p.seed)
    model, rng = READERS[name](p.size), torch.Generator().manual_seed(p.seed)
    opt, metrics = Adam(trainables(model), p.rate), Metrics(out)
    checkpoint = Checkpoint(out, name, model=model, opt=opt, rng=rng)
    for epoch in (bar := tqdm(checkpoint.steps(p.epochs), desc=name, unit="epoch")):
        adjust(opt, p.rate * (1 - epoch / p.epochs))
        total = 0.0
        for i in torch.randperm(len(trees), generator=rng).split(p.batch):
            batch = [trees[k] for k in i]
            loss = logitcrossentropy(model(batch), labels(batch))
            back(loss)
            opt()
            total += loss.item() * len(batch) / len(trees)
        metrics(step=epoch, reader=name, loss=total)
        bar.set_postfix(loss=f"{total:.3f}")
    return model


@torch.no_grad()
def judged(model, trees):
    """For each tree the sentiments, -2 to 2, that a reader gives its phrases."""
    found = model(trees).argmax(1) - 2
    return [part.tolist() for part in found.split([len(tree.phrases) for tree in trees])]


def accuracy(model, trees):
    """The share of whole sentences that are judged right."""
    return sum(given[-1] == tree.label for given, tree in zip(judged(model, trees), trees, strict=True)) / len(trees)


def make_data(p):
    """The trees of the training, and those of each test by its name."""
    rng = torch.Generator().manual_seed(p.seed)
    read = treebank(p.trees, HEIGHTS, lambda tree: not rare(tree), rng)
    known = set(read)
    new = lambda tree: tree not in known and not rare(tree)
    tests = {f"{height} high": treebank(p.tests, (height,), new, rng) for height in range(4, p.highest + 1)}
    has_only = lambda name: lambda tree: rare(tree) == {name}
    return read, tests | {name: treebank(p.tests, HEIGHTS[-1:], has_only(name), rng) for name in RARE}


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    read, tests = make_data(p)
    models = {name: train(name, read, p, out) for name in READERS}
    table = {name: {test: accuracy(model, trees) for test, trees in tests.items()} for name, model in models.items()}
    table["most frequent"] = {
        test: max(Counter(tree.label for tree in trees).values()) / len(trees) for test, trees in tests.items()
    }
    shown = next(tree for tree in tests[f"{min(8, p.highest)} high"] if {"but", "nobody"} <= set(tree.words))
    draw(shown, judged(models["recursive"], [shown])[0], table, max(HEIGHTS), out / "treebank.png")
    torch.set_num_threads(torch_threads)
    return {"judged right": table}


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    for name, row in results["judged right"].items():
        print(f"{name:13}", *(f"{test} {right:.2f}" for test, right in row.items()), sep="  ")
