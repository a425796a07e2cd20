"""The text, its letters as numbers, and counts of its letters as a baseline."""

import math
from collections import Counter, defaultdict
from pathlib import Path

import torch

TEXT = (Path(__file__).parent / "romeo-and-juliet.txt").read_text(encoding="utf-8")
LETTERS = sorted(set(TEXT))
CODES = torch.tensor([LETTERS.index(letter) for letter in TEXT])  # (n,)


def counted(read, held_out, orders):
    """Bits for each held-out letter but the first, by counts after 0, 1, ... letters; (orders + 1, n - 1)."""
    follows = [defaultdict(Counter) for _ in range(orders + 1)]
    for i in range(len(read)):
        for k in range(min(i, orders) + 1):
            follows[k][read[i - k : i]][read[i]] += 1
    bits = torch.zeros(orders + 1, len(held_out) - 1)
    for i in range(1, len(held_out)):
        p = 1 / len(LETTERS)
        for k in range(orders + 1):
            if k <= i and (after := follows[k].get(held_out[i - k : i])):
                kinds, n = len(after), after.total()
                p = (after[held_out[i]] + kinds * p) / (n + kinds)
            bits[k, i - 1] = -math.log2(p)
    return bits
