"""The boards of 4x4 sudoku: grids are tuples of rows, and all 288 are found by trying; puzzles are made of them."""

from itertools import permutations, product

import torch
from torch.nn.functional import one_hot

SYMMETRIES = (
    lambda g: (g[1], g[0], g[2], g[3]),
    lambda g: (g[2], g[3], g[0], g[1]),
    lambda g: tuple(zip(*g, strict=True)),
    lambda g: tuple(tuple((1, 0, 2, 3)[digit] for digit in row) for row in g),
    lambda g: tuple(tuple((digit + 1) % 4 for digit in row) for row in g),
)


def solved(grid):
    groups = [*grid, *zip(*grid, strict=True)]
    groups += [(*grid[i][j : j + 2], *grid[i + 1][j : j + 2]) for i in (0, 2) for j in (0, 2)]
    return all(len(set(group)) == 4 for group in groups)


def kind(grid):
    """All grids that symmetries make of one."""
    found, fresh = set(), {grid}
    while fresh:
        found |= fresh
        fresh = {move(g) for g in fresh for move in SYMMETRIES} - found
    return found


LIST = [grid for grid in product(permutations(range(4)), repeat=4) if solved(grid)]
GRIDS = torch.tensor(LIST).view(-1, 16)  # (288, 16)
BOARDS = one_hot(GRIDS, 4).double().view(-1, 64)  # (288, 64)
LARGER = max(kind(LIST[0]), set(LIST) - kind(LIST[0]), key=len)
IS_LARGER = torch.tensor([grid in LARGER for grid in LIST])  # 192 of one kind, 96 of the other


def clues(grid, rng):
    """Cells (16,) that determine a grid (16,), none of them superfluous; taken away in random order."""
    kept = torch.ones(16, dtype=torch.bool)
    for cell in torch.randperm(16, generator=rng).tolist():
        kept[cell] = False
        if (GRIDS[:, kept] == grid[kept]).all(1).sum() > 1:
            kept[cell] = True
    return kept


def make_puzzles(which, n, rng):
    """Puzzles and solutions, (n, 64) each, of some of the grids."""
    chosen = which[torch.randint(len(which), (n,), generator=rng)]
    kept = torch.stack([clues(grid, rng) for grid in GRIDS[chosen]])  # (n, 16)
    return BOARDS[chosen] * kept.repeat_interleave(4, 1), BOARDS[chosen]
