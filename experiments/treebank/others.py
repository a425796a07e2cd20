"""The readers to compare with, from trees to (phrases, 5) logits, as the recursive one."""

import torch
from grammar import CODES, WORDS
from torch.nn.utils.rnn import pad_sequence

from torchflux import LSTM, Chain, Dense, Embedding, EmbeddingBag, relu, treelike


@treelike
class Memory:
    def __init__(self, size):
        self.read = Chain(Embedding(len(WORDS) + 1, size), LSTM(size, 2 * size), Dense(2 * size, 5))

    def __call__(self, trees):
        texts = [torch.stack([CODES[phrase.word] for phrase in tree.phrases]) for tree in trees]
        logits = self.read(pad_sequence(texts, batch_first=True))  # (trees, longest, 5)
        return torch.cat([row[: len(text)] for row, text in zip(logits, texts, strict=True)])


@treelike
class Bag:
    def __init__(self, size):
        self.read = Chain(EmbeddingBag(len(WORDS), size, "sum"), Dense(size, 2 * size, relu), Dense(2 * size, 5))

    def __call__(self, trees):
        return self.read([torch.stack([CODES[w] for w in p.words]) for tree in trees for p in tree.phrases])
