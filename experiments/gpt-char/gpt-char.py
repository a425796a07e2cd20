"""A small GPT learns to write: four heads look back at 64 letters, on the text and beside the numbers of char-rnn.

The network is GPT-2's in small (Radford et al., 2019). Its surprise at the part of the text that it hasn't read, in
bits a letter, stands beside that of char-rnn's LSTM and of its counts. A picture shows where its heads look.
"""

import math
import runpy
from dataclasses import dataclass, field
from pathlib import Path

import torch
from network import GPT
from picture import draw
from tqdm import tqdm

from torchflux import AdamW, ClipNorm, OptimiserChain, adjust, back, logitcrossentropy, trainables
from torchflux_lab import Checkpoint, Metrics

DATA = ["../char-rnn/romeo-and-juliet.txt", "../char-rnn/play.py"]
TOLERANCES = {"*": 0.02, "written": None}


@dataclass
class Parameters:
    seed: int = 0
    blocks: int = 2
    size: int = field(default=80, metadata={"help": "numbers that stand for a letter and its place"})
    heads: int = 4
    length: int = field(default=64, metadata={"help": "letters that it sees at once"})
    dropout: float = 0.1
    share: float = field(default=0.9, metadata={"help": "of the text that is read; the end is held out"})
    steps: int = 3000
    batch: int = 16
    rate: float = field(default=0.004, metadata={"help": "of AdamW, at most; it rises, and falls to zero"})
    rising: int = field(default=100, metadata={"help": "steps in which the rate rises"})
    decay: float = field(default=0.1, metadata={"help": "of the weights, in AdamW"})
    orders: int = field(default=6, metadata={"help": "of the counts: by up to so many letters before"})
    temperature: float = field(default=0.5, metadata={"help": "at which it writes"})
    written: int = field(default=500, metadata={"help": "letters that it writes"})
    every: int = field(default=150, metadata={"help": "steps between two looks"})


CHAR_RNN = 2.462  # bits a letter of the same text: experiments/char-rnn/README.md
PLAY = runpy.run_path(str(Path(__file__).parent.parent / "char-rnn" / "play.py"))  # the text and its counts
TEXT, LETTERS, CODES, counted = (PLAY[name] for name in ("TEXT", "LETTERS", "CODES", "counted"))


@torch.no_grad()
def surprise(model, codes, length):
    """Bits for each letter of a text (n,) but the first, each with at least half of `length` before it, if there is."""
    model.eval()
    half, bits = length // 2, []
    for start in range(0, len(codes) - 1, half):
        piece = codes[max(0, start - half) : start + half + 1]
        known = len(piece) - 1 - len(codes[start + 1 : start + half + 1])
        bits.append(logitcrossentropy(model(piece[None, :-1])[0], piece[1:], agg=lambda losses: losses)[known:])
    model.train()
    return torch.cat(bits) / math.log(2)


def write(model, p):
    """Letters, each drawn as probable as the network says, probabilities to the power 1 / temperature."""
    model.eval()
    rng, codes = torch.Generator().manual_seed(p.seed), [LETTERS.index("\n")]
    for _ in range(p.written):
        with torch.no_grad():
            logits = model(torch.tensor([codes[-p.length :]]))[0, -1]
        codes.append(torch.multinomial((logits / p.temperature).softmax(-1), 1, generator=rng).item())
    model.train()
    return "".join(LETTERS[code] for code in codes[1:])


def train(model, read, held_out, p, out):
    """What was seen on the way: (step, held-out bits a letter)."""
    rng, looks = torch.Generator().manual_seed(p.seed), []
    opt = OptimiserChain(trainables(model), ClipNorm(1.0), AdamW(p.rate, beta=(0.9, 0.99), decay=p.decay))
    metrics, checkpoint = Metrics(out), Checkpoint(out, model=model, opt=opt, rng=rng, looks=looks)
    for step in (bar := tqdm(checkpoint.steps(range(1, p.steps + 1), p.every), unit="step")):
        starts = torch.randint(len(read) - p.length, (p.batch, 1), generator=rng)
        pieces = read[starts + torch.arange(p.length + 1)]  # (batch, length + 1)
        loss = logitcrossentropy(model(pieces[:, :-1]), pieces[:, 1:])
        back(loss)
        adjust(opt, p.rate * min(step / p.rising, (1 + math.cos(math.pi * step / p.steps)) / 2))
        opt()
        if step % p.every == 0:
            looks.append((step, surprise(model, held_out, p.length).mean().item()))
            metrics(step=step, training=loss / math.log(2), held_out=looks[-1][1])
            bar.set_postfix(held_out=f"{looks[-1][1]:.3f}")
    return looks


@torch.no_grad()
def attention(model, codes):
    """(blocks, heads, n, n): how much each letter of a text (n,) looks at which."""
    _, seen = model.eval()(codes[None], weights=True)
    return torch.cat(seen)


def main(parameters: Parameters, out: Path) -> dict:
    p, torch_threads = parameters, torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are small
    torch.manual_seed(p.seed)
    n, model = int(p.share * len(TEXT)), GPT(len(LETTERS), p)
    looks = train(model, CODES[:n], CODES[n:], p, out)
    bits = {
        f"counts, {k} letters before": row.mean().item() for k, row in enumerate(counted(TEXT[:n], TEXT[n:], p.orders))
    }
    bits |= {"char-rnn": CHAR_RNN, "network": surprise(model, CODES[n:], p.length).mean().item()}
    written = write(model, p)
    start = n + TEXT[n:].index("\n\n") + 2  # where the next one speaks
    shown = slice(start, start + min(p.length, 40))
    draw(TEXT[shown], attention(model, CODES[shown]), looks, bits, written, out / "gpt-char.png")
    torch.set_num_threads(torch_threads)
    return {"bits a letter": {name: round(x, 3) for name, x in bits.items()}, "written": written, "looks": looks}


if __name__ == "__main__":
    results = main(Parameters(), Path(__file__).parent)
    for name, bits in results["bits a letter"].items():
        print(f"{bits:.3f} bits a letter   {name}")
    print(results["written"])
