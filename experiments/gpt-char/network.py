"""GPT-2's network in small: attention and dense networks in turn, each added to what comes in, after a LayerNorm.

Where a letter stands is not said by a table of places, but by how much less is seen of what is further back, for each
head at a rate of its own (Press, Smith and Lewis, 2022).
"""

import torch

from torchflux import Chain, Dense, Dropout, Embedding, LayerNorm, MultiHeadAttention, causal_mask, gelu, treelike


@treelike
class Block:
    """(batch, time, size) → the same, and the attention (batch, heads, time, time) if it is asked for."""

    def __init__(self, p):
        self.before, self.between = LayerNorm(p.size), LayerNorm(p.size)
        self.attention = MultiHeadAttention(p.size, p.heads, dropout_prob=p.dropout)
        self.think = Chain(Dense(p.size, 4 * p.size, gelu), Dense(4 * p.size, p.size), Dropout(p.dropout))
        self.drop = Dropout(p.dropout)

    def __call__(self, x, weights=False):
        n, heads = x.shape[1], self.attention.nheads
        back = torch.arange(n)[:, None] - torch.arange(n)  # (n, n), how many letters ago
        less = 0.5 ** torch.arange(heads).view(-1, 1, 1) * back  # (heads, n, n)
        y, seen = self.attention(self.before(x), bias=-less, mask=causal_mask(n), return_weights=weights)
        x = x + self.drop(y)
        return x + self.think(self.between(x)), seen


@treelike
class GPT:
    """(batch, time) letters → (batch, time, letters) logits of each next one."""

    def __init__(self, letters, p):
        self.letter = Embedding(letters, p.size, init=lambda *shape: 0.02 * torch.randn(*shape))
        self.drop, self.last = Dropout(p.dropout), LayerNorm(p.size)
        self.blocks = [Block(p) for _ in range(p.blocks)]

    def __call__(self, codes, weights=False):
        x = self.drop(self.letter(codes))
        seen = []
        for block in self.blocks:
            x, found = block(x, weights)
            seen.append(found)
        logits = self.last(x) @ self.letter.weight.T  # the same table at both ends
        return (logits, seen) if weights else logits
