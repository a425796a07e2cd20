"""Points of the unit cube, from which those of every shape are made."""

import torch
from torch import Tensor

__all__: list[str] = []

METHODS = ("uniform", "latin", "sobol")


def unit_points(n: int, dimensions: int, generator: torch.Generator | None, method: str) -> Tensor:
    """n points of [0, 1)^d, float64: independent, of a Latin hypercube, or of a scrambled Sobol sequence.

    Sources: McKay, Beckman & Conover (1979), doi:10.2307/1268522; Sobol (1967), doi:10.1016/0041-5553(67)90144-9; both
    by SciPy's `qmc`.
    """
    if method not in METHODS:
        raise ValueError(f"no way to draw points is called {method!r}; there are {', '.join(METHODS)}")
    if method == "uniform" or not n:
        return torch.rand(n, dimensions, generator=generator, dtype=torch.float64)
    from scipy.stats import qmc

    seed = int(torch.randint(2**31, (), generator=generator))
    if method == "latin":
        return torch.from_numpy(qmc.LatinHypercube(dimensions, rng=seed).random(n))
    # A Sobol sequence is balanced in powers of two: the next one is drawn, and the first n are kept.
    return torch.from_numpy(qmc.Sobol(dimensions, rng=seed).random_base2((n - 1).bit_length()))[:n]
