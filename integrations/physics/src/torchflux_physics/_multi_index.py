"""Multi-indices: which derivative is meant, and how Leibniz's rule shares it out."""

from collections import Counter
from functools import lru_cache
from itertools import product

__all__: list[str] = []

Index = tuple[int, ...]
"""A derivative by its coordinates in ascending order: `(0, 0, 1)` is ∂³/∂x₀²∂x₁, `()` the value."""


def joined(*parts: Index) -> Index:
    """The derivative of a derivative.

    >>> joined((0, 1), (0,))
    (0, 0, 1)
    """
    return tuple(sorted(sum(parts, ())))


@lru_cache(maxsize=4096)
def splits(index: Index, factors: int) -> tuple[tuple[int, tuple[Index, ...]], ...]:
    """How the derivative of a product falls on its factors, and how often each way (Leibniz's rule).

    >>> splits((0, 0), 2)  # (fg)'' = f g'' + 2 f' g' + f'' g
    ((1, ((), (0, 0))), (2, ((0,), (0,))), (1, ((0, 0), ())))
    """
    ways: Counter[tuple[Index, ...]] = Counter()
    for owner in product(range(factors), repeat=len(index)):
        ways[tuple(tuple(i for i, o in zip(index, owner, strict=True) if o == k) for k in range(factors))] += 1
    return tuple((count, parts) for parts, count in sorted(ways.items()))
