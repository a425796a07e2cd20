"""Solvers by their names."""

from collections.abc import Iterator
from inspect import isabstract

from ._foreign import Foreign
from ._runge_kutta import ExplicitRungeKutta
from ._scipy import METHODS, SciPy
from ._solver import Solver
from ._torchdiffeq import ADAPTIVE, FIXED, TorchDiffEq

__all__ = ["named"]

SAME = {"heun2": "heun", "adaptive_heun": "heun", "rk45": "dopri5", "rk23": "bosh3", "dop853": "dopri8"}
"""Methods of SciPy and torchdiffeq that are here under another name."""


def named(name: str) -> Solver:
    """The solver of a name: this package's, or else SciPy's or torchdiffeq's.

    Upper and lower case are the same. "rk4" is the classical method, "dopri8" that of SciPy's DOP853; torchdiffeq's,
    which are the 3/8 rule and another method of eighth order, are `TorchDiffEq("rk4")` and `TorchDiffEq("dopri8")`.

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
            if not (solver is ExplicitRungeKutta or solver.__name__.startswith("_") or isabstract(solver)):
                yield solver
            yield from _derived(solver)
