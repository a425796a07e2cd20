"""A recurrent network learns to write: an LSTM reads two acts letter by letter and goes on with it.

After each letter the network says how probable each next one is. Its surprise at a part that it hasn't read, in bits a
letter, stands beside that of counts: what followed the same last one, two, three ... letters in the part that was read,
mixed by Witten and Bell's rule (1991).
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from picture import draw
from play import CODES, LETTERS, TEXT, counted
from tqdm import tqdm

from torchflux import (
    LSTM,
    Adam,
    Chain,
    ClipNorm,
    Dense,
    Dropout,
    Embedding,
    OptimiserChain,
    adjust,
    back,
    logitcrossentropy,
    trainables,
)
from torchflux_lab import Checkpoint, Metrics

# Of a reproduction: what is written differs with one letter.
TOLERANCES = {"bits a letter.*": (0, 0.03), "written*": None, "looks*": None}


@dataclass
class Parameters:
    seed: int = 0
    embedded: int = field(default=32, metadata={"help": "numbers that stand for a letter"})
    hidden: int = 192
    dropout: float = 0.4
    share: float = field(default=0.9, metadata={"help": "of the text that is read; the end is held out"})
    steps: int = 1200
    batch: int = 32
    length: int = field(default=64, metadata={"help": "letters of a piece"})
    rate: float = field(default=0.004, metadata={"help": "of Adam, at first; it falls to zero"})
    orders: int = field(default=6, metadata={"help": "of the counts: by up to so many letters before"})
    temperatures: tuple[float, ...] = field(default=(0.5, 1.0), metadata={"help": "at which it writes"})
    written: int = field(default=500, metadata={"help": "letters, at each temperature"})
    every: int = field(default=50, metadata={"help": "steps between two looks"})


class Writer:
    """The network, (batch, time) letters and a state to (batch, time, letters) logits and the next state."""

    def __init__(self, p):
        torch.manual_seed(p.seed)
        self.read = Chain(Embedding(len(LETTERS), p.embedded), Dropout(p.dropout))
        self.recur = LSTM(p.embedded, p.hidden, return_state=True)
        self.say = Chain(Dropout(p.dropout), Dense(p.hidden, len(LETTERS)))
        self.parts = Chain(self.read, self.recur, self.say)  # for training and saving as one

    def __call__(self, x, state=None):
        y, state = self.recur(self.read(x), state)
        return self.say(y), state

    def surprise(self, codes):
        """Bits for each letter of a text (n,) but the first, read in one go; (n - 1,)."""
        self.parts.eval()
        with torch.no_grad():
            logits, _ = self(codes[None, :-1])
        self.parts.train()
        return logitcrossentropy(logits[0], codes[1:], agg=lambda losses: losses) / math.log(2)

    def write(self, n, temperature, rng):
        """n letters, each drawn as probable as the network says, probabilities to the power 1 / temperature."""
        self.parts.eval()
        x, state, text = torch.tensor([[LETTERS.index("\n")]]), None, ""
        for _ in range(n):
            with torch.no_grad():
                logits, state = self(x, state)
            x = torch.multinomial((logits[0] / temperature).softmax(-1), 1, generator=rng)
            text += LETTERS[x.item()]
        return text


def train(writer, read, held_out, p, out):
    """What was seen on the way: (step, held-out bits a letter)."""
    rng, looks = torch.Generator().manual_seed(p.seed), []
    opt = OptimiserChain(trainables(writer.parts), ClipNorm(1.0), Adam(p.rate))
    metrics, checkpoint = Metrics(out), Checkpoint(out, model=writer.parts, opt=opt, rng=rng, looks=looks)
    for step in tqdm(checkpoint.steps(range(1, p.steps + 1), p.every), unit="step"):
        starts = torch.randint(len(read) - p.length, (p.batch, 1), generator=rng)
        pieces = read[starts + torch.arange(p.length + 1)]  # (batch, length + 1)
        logits, _ = writer(pieces[:, :-1])  # (batch, length, letters)
        loss = logitcrossentropy(logits, pieces[:, 1:])
        back(loss)
        adjust(opt, p.rate * (1 + math.cos(math.pi * step / p.steps)) / 2)
        opt()
        if step % p.every == 0:
            looks.append((step, writer.surprise(held_out).mean().item()))
            metrics(step=step, training=loss / math.log(2), held_out=looks[-1][1])
    return looks


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    n = int(p.share * len(TEXT))
    writer = Writer(p)
    looks = train(writer, CODES[:n], CODES[n:], p, out)
    counts = counted(TEXT[:n], TEXT[n:], p.orders)
    surprise = writer.surprise(CODES[n:])
    rng = torch.Generator().manual_seed(p.seed)
    written = {f"{t:g}": writer.write(p.written, t, rng) for t in p.temperatures}
    bits = {f"counts, {k} letters before": row.mean().item() for k, row in enumerate(counts)}
    bits["network"] = surprise.mean().item()
    draw(TEXT[n:], surprise, looks, bits, written, out / "char-rnn.png")
    torch.set_num_threads(torch_threads)
    return {"bits a letter": {name: round(x, 3) for name, x in bits.items()}, "written": written, "looks": looks}


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    for name, bits in results["bits a letter"].items():
        print(f"{bits:.3f} bits a letter   {name}")
    print(*results["written"].values(), sep="\n---\n")
