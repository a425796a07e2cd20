"""Training with SciPy's optimisers."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.optimize
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchflux import trainables

from ._scipy import BOUNDED, CURVED, LIMITS, MINIMISE, SLOPELESS

__all__ = ["ScipyResult", "scipy_minimise"]

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class ScipyResult:
    """What `scipy_minimise` found.

    Arguments:
        loss: at the best point, which the model is at now.
        success, message: SciPy's own.
        steps, evaluations: how many there were.
        losses: of each evaluation, in order.
    """

    loss: float
    success: bool
    message: str
    steps: int
    evaluations: int
    losses: tuple[float, ...] = field(repr=False)


@torch.compiler.disable
def scipy_minimise(
    loss: Callable[[Any], Tensor],
    model: Any,
    method: str = "L-BFGS-B",
    *,
    bounds: tuple[Any, Any] | Mapping[str, Any] | list[Any] | None = None,
    tol: float | None = None,
    max_steps: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> ScipyResult:
    """Trains a model by one of the methods of `scipy.optimize.minimize`, with gradients by backpropagation.

    What trains (`torchflux.trainables`) is SciPy's vector of float64, and keeps its dtype. The model is changed in
    place: afterwards it is at the best point of all. The loss should be the same for the same parameters: use all
    data, and no dropout.

    Arguments:
        loss: a function of the model; it returns one real number as a tensor.
        model: any tree.
        method: one of SciPy's. Those that need a Hessian get products with it, or all of it.
        bounds: `(lower, upper)` for all parameters; or such a pair by the path of a parameter, or of a part of the
            model with all below it; or dicts and lists of pairs, nested as the model. Each bound is `None`, a number,
            or a tensor shaped like the parameter.
        tol, options: SciPy's.
        max_steps: SciPy's limit.

    Raises:
        ValueError: the method or a bound is unknown, the model is outside of its bounds or has nothing that trains, or
            its loss isn't finite.

    >>> from torchflux import Dense
    >>> x = torch.linspace(-1, 1, 20)[:, None]
    >>> model = Dense(1, 1)
    >>> result = scipy_minimise(lambda m: (m(x) - 3 * x).square().mean(), model, bounds={"weight": (None, 2.0)})
    >>> model.weight.item(), result.success
    (2.0, True)

    Source: Virtanen et al. (2020), doi:10.1038/s41592-019-0686-2.
    """
    if method not in MINIMISE:
        raise ValueError(f"scipy_minimise: method={method!r}; it is one of {', '.join(MINIMISE)}")
    if bounds is not None and method not in BOUNDED:
        raise ValueError(f"scipy_minimise: {method} takes no bounds; {', '.join(BOUNDED)} do")
    flight = _Flight(loss, model)
    more: dict[str, Any] = {} if bounds is None else {"bounds": scipy.optimize.Bounds(*_bounds(flight, bounds))}
    more |= {} if method in SLOPELESS else {"jac": True}
    more |= {"hess": flight.hessian} if method in ("dogleg", "trust-exact") else {}
    more |= {"hessp": flight.curvature} if method in CURVED and not {"hess"} & {*more} else {}
    limit = {} if max_steps is None else {LIMITS.get(method, "maxiter"): max_steps}
    fun = flight.value if method in SLOPELESS else flight.sloped
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", "Unknown solver options", scipy.optimize.OptimizeWarning)
            found = scipy.optimize.minimize(
                fun, flight.start, method=method, tol=tol, options={**limit, **(options or {})}, **more
            )
    finally:
        flight.put(flight.best)
    words, steps = str(found.message), int(found.get("nit", len(flight.losses)))
    return ScipyResult(min(flight.losses), bool(found.success), words, steps, len(flight.losses), tuple(flight.losses))


class _Flight:
    """A model on its way: SciPy's vectors put into it, and the best of them."""

    def __init__(self, loss: Callable[[Any], Tensor], model: Any) -> None:
        self.loss, self.model = loss, model
        self.named: list[tuple[str, Tensor]] = trainables(model, path=True)
        if not self.named:
            raise ValueError(f"scipy_minimise: nothing in {type(model).__name__} trains")
        if any(x.is_complex() for _, x in self.named):
            raise TypeError("scipy_minimise: a parameter is complex; hold its real and imaginary parts as two")
        self.parts = [x for _, x in self.named]
        self.start = self.vector(self.parts)
        self.losses: list[float] = []
        self.best, self.least = self.start, np.inf

    def vector(self, parts: Any) -> Numbers:
        """Tensors as SciPy's vector."""
        flat: Numbers = np.concatenate([x.detach().cpu().double().reshape(-1).numpy() for x in parts])
        return flat

    def put(self, x: Numbers) -> None:
        """Makes a vector the model's parameters."""
        pieces = torch.as_tensor(np.array(x, np.float64)).split([part.numel() for part in self.parts])
        with torch.no_grad():
            for part, piece in zip(self.parts, pieces, strict=True):
                part.copy_(piece.reshape(part.shape))

    def value(self, x: Numbers, tape: bool = False) -> Any:
        """The loss."""
        self.put(x)
        with torch.set_grad_enabled(tape):
            loss = self.loss(self.model)
        if not isinstance(loss, Tensor) or loss.numel() != 1 or loss.is_complex():
            raise TypeError("scipy_minimise: the loss is to be one real number, as a tensor")
        number = float(loss.detach())
        if not self.losses and not np.isfinite(number):
            raise ValueError(f"scipy_minimise: the loss is {number} at the start; begin where it is finite")
        self.losses.append(number)
        if number < self.least:
            self.best, self.least = np.array(x, np.float64), number
        return loss if tape else number

    def sloped(self, x: Numbers) -> tuple[float, Numbers]:
        """The loss and its gradient."""
        leaves = [part for part in self.parts if not part.requires_grad]  # tensors of a tree
        for part in leaves:
            part.requires_grad_()
        try:
            loss = self.value(x, True)
            slopes = self._slopes(loss)
        finally:
            for part in leaves:
                part.requires_grad_(False)
        return float(loss.detach()), self.vector(slopes)

    def _slopes(self, loss: Tensor, again: bool = False) -> list[Tensor]:
        if not loss.requires_grad:
            raise TypeError("scipy_minimise: the loss doesn't depend on the model's parameters by torch's operations")
        found = torch.autograd.grad(loss.reshape(()), self.parts, create_graph=again, allow_unused=True)
        return [torch.zeros_like(x) if g is None else g for x, g in zip(self.parts, found, strict=True)]

    def curvature(self, x: Numbers, direction: Numbers) -> Numbers:
        """The Hessian times a vector."""
        self.put(x)
        pieces = torch.as_tensor(np.array(direction)).split([part.numel() for part in self.parts])
        leaves = [part for part in self.parts if not part.requires_grad]
        for part in leaves:
            part.requires_grad_()
        try:
            with torch.enable_grad():
                slopes = self._slopes(self.loss(self.model), True)
                along = sum((g * p.reshape(g.shape).to(g)).sum() for g, p in zip(slopes, pieces, strict=True))
                second = self._slopes(along) if along.requires_grad else [torch.zeros_like(g) for g in slopes]
        finally:
            for part in leaves:
                part.requires_grad_(False)
        return self.vector(second)

    def hessian(self, x: Numbers) -> Numbers:
        """All of it."""
        return np.stack([self.curvature(x, unit) for unit in np.eye(len(self.start))])


def _bounds(flight: _Flight, bounds: Any) -> tuple[Numbers, Numbers]:
    """The lower and the upper ones as vectors.

    Raises:
        ValueError: a path is unknown, a bound doesn't fit, or the model is outside.
    """
    given = _by_path(bounds)
    ends: tuple[list[Tensor], list[Tensor]] = ([], [])
    for path, x in flight.named:
        pair = next((given[name] for name in sorted(given, key=len, reverse=True) if _below(path, name)), (None, None))
        for found, bound, none in zip(ends, pair, (-torch.inf, torch.inf), strict=True):
            number = torch.as_tensor(none if bound is None else bound, dtype=torch.float64).detach()
            if number.dim() and number.shape != x.shape:
                raise ValueError(f"scipy_minimise: a bound of {path!r} is {tuple(number.shape)}, it {tuple(x.shape)}")
            found.append(number.expand(x.shape))
    if unknown := [name for name in given if not any(_below(path, name) for path, _ in flight.named)]:
        raise ValueError(f"scipy_minimise: nothing is below {unknown}; there are {[path for path, _ in flight.named]}")
    lower, upper = (flight.vector(parts) for parts in ends)
    if not ((lower <= flight.start) & (flight.start <= upper)).all():
        outside = np.flatnonzero(~((lower <= flight.start) & (flight.start <= upper)))
        raise ValueError(f"scipy_minimise: {len(outside)} numbers of the model are outside of their bounds; clamp them")
    return lower, upper


def _by_path(bounds: Any, path: str = "") -> dict[str, Any]:
    """Nested bounds by path: dicts and lists are nodes, a pair is an end."""
    if isinstance(bounds, Mapping | list):
        parts = bounds.items() if isinstance(bounds, Mapping) else enumerate(bounds)
        nested = [_by_path(part, f"{path}.{name}" if path else str(name)) for name, part in parts]
        return {name: pair for found in nested for name, pair in found.items()}
    if not isinstance(bounds, tuple) or len(bounds) != 2:
        raise ValueError(f"scipy_minimise: the bounds of {path or 'the model'} are {bounds!r}; pass (lower, upper)")
    return {path: bounds}


def _below(path: str, name: str) -> bool:
    return not name or path == name or path.startswith(f"{name}.")
