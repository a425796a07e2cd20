"""Solvers by their names."""

from collections.abc import Iterator

from ._foreign import Foreign
from ._scipy import METHODS, SciPy
from ._solver import Solver
from ._torchdiffeq import ADAPTIVE, FIXED, TorchDiffEq

__all__ = ["named"]

SAME = {"heun2": "heun", "adaptive_heun": "heun", "rk45": "dopri5", "rk23": "bosh3"}
"""Methods of SciPy and torchdiffeq that are here under another name."""


def named(name: str) -> Solver:
    """The solver of a name: this package's, or else SciPy's or torchdiffeq's.

    Upper and lower case are the same. "rk4" is the classical method; torchdiffeq's, which is the 3/8 rule, is
    `TorchDiffEq("rk4")`.

    >>> named("tsit5"), named("RK45"), named("BDF"), named("implicit_adams")
    (Tsit5(), Dopri5(), SciPy('BDF'), TorchDiffEq('implicit_adams'))
    """
    ours = {solver.__name__.lower(): solver for solver in _derived(Solver)}  # type: ignore[type-abstract]
    lower = name.lower()
    found = ours.get(SAME.get(lower, lower))
    if found is not None:
        return found()
    foreign: dict[str, Solver] = {other: TorchDiffEq(other) for other in ADAPTIVE + FIXED}
    foreign |= {other.lower(): SciPy(other) for other in METHODS}
    if lower not in foreign:
        raise ValueError(f"solver={name!r}: it is one of {', '.join(sorted({*ours, *SAME, *foreign}))}, or an object")
    return foreign[lower]


def _derived(base: type[Solver]) -> Iterator[type[Solver]]:
    """This package's solvers."""
    for solver in base.__subclasses__():
        if solver.__module__.startswith(__package__ + ".") and not issubclass(solver, Foreign):
            if not getattr(solver, "__abstractmethods__", None) and hasattr(solver, "order"):
                yield solver
            yield from _derived(solver)
