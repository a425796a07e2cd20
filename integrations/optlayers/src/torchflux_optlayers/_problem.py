"""The four kinds of problems, as functions of rows."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from torchflux import leaves, trainables

from ._derivatives import jacobian, pulled
from ._lanes import transformed
from ._rows import PerSample, Rows, picked, tensors

__all__ = ["FixedPoints", "LeastSquares", "Minima", "Problem", "Roots"]

Tree = Any
P = TypeVar("P", bound="Problem")


class Problem(ABC):
    """A function of rows (rows, n), and the equations `optimality(y) = 0` of what is looked for.

    Arguments:
        fn: `fn(y, args)`.
        rows: the layout of `y`.
        args: for the function.
        tape: whether derivatives are to be differentiated again.
        index: the elements of the batch that the rows are; all of them, unless said otherwise.
    """

    name: ClassVar[str]

    def __init__(
        self, fn: Callable[..., Tree], rows: Rows, args: Tree, tape: bool = False, index: Tensor | None = None
    ) -> None:
        self.fn, self.rows, self.args, self.tape = fn, rows, args, tape
        self.marked = any(isinstance(x, PerSample) for _, x in leaves(args))
        self.given = picked(args, index) if self.marked else args
        for path, x in leaves(args) if self.marked else ():
            if isinstance(x, PerSample) and (not rows.batched or len(x.value) != rows.count):
                count = f"{rows.count} elements" if rows.batched else "no batch: pass batched=True"
                raise ValueError(f"args: {path or 'a tensor'} has {len(x.value)} entries by per_sample, y0 {count}")

    def on(self, index: Tensor) -> "Problem":
        """The same for some elements of the batch."""
        return type(self)(self.fn, self.rows, self.args, self.tape, index)

    def other(self, kind: "type[P]", fn: Callable[..., Tree]) -> "P":
        """A problem of another function of the same `y` and `args`."""
        found = kind(fn, self.rows, None, self.tape)
        found.given = self.given
        return found

    @abstractmethod
    def optimality(self, y: Tensor) -> Tensor:
        """What is zero at a solution, shape (rows, n); differentiable by `y` and whatever `fn` uses."""

    def depends(self, y: Tensor) -> bool:
        """Whether the problem may depend on anything that has a gradient; its equations tell."""
        return True

    def called(self, y: Tensor) -> Tree:
        """`fn` of the tree that the rows stand for."""
        version, state = None if y.is_inference() else y._version, self.rows.unravel(y)
        if self.rows.modular and not (y.requires_grad or transformed()):
            for x in trainables(state):
                x.requires_grad_(False)  # a rebuilt module's parameters would have a tape that nobody asked for
        found = self.fn(state, self.given)
        if version is not None and y._version != version:
            raise ValueError("fn changed its y in place, which the solver goes on with: write -y, not y.neg_()")
        return found

    def numbers(self, y: Tensor) -> Tensor:
        """All that `fn` returns as rows (rows, m)."""
        given = self.called(y)
        found = [given] if isinstance(given, Tensor) else list(tensors(given))
        if not found:
            raise TypeError(f"{self.name}: fn returned no tensor; compute with torch's functions")
        for x in found:
            if x.dtype not in self.rows.dtypes:
                raise TypeError(f"{self.name}: fn returned {x.dtype}, and y0 is {self.rows.dtype}: convert one of them")
            if self.rows.batched and x.shape[:1] != y.shape[:1]:
                raise ValueError(
                    f"{self.name}: fn returned the shape {tuple(x.shape)} for {len(y)} elements: batched=True wants "
                    "results with the batch in front"
                )
        return self.rows.ravel(found, y.shape[0])


class Roots(Problem):
    """`fn(y, args) = 0`, as many equations as unknowns."""

    name = "root"

    def optimality(self, y: Tensor) -> Tensor:
        """The function itself."""
        found = self.numbers(y)
        if found.shape != y.shape:
            m, n = found.shape[-1], y.shape[-1]
            raise ValueError(
                f"root: fn returned {m} numbers for {n} unknowns; least_squares takes other numbers of them"
            )
        return found

    def linearised(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """What is zero at a solution, and its derivatives (rows, n, n)."""
        return jacobian(self.optimality, y, self.tape)


class FixedPoints(Roots):
    """`fn(y, args) = y`."""

    name = "fixed_point"

    def optimality(self, y: Tensor) -> Tensor:
        """What is left of the change."""
        return y - self.rows.alike(self.called(y), len(y), "fixed_point: fn")


class Minima(Problem):
    """The least `fn(y, args)`."""

    name = "minimise"

    def losses(self, y: Tensor) -> Tensor:
        """A number for each row, shape (rows,)."""
        found = self.numbers(y)
        if found.shape[-1] != 1:
            due = "one number for each element" if self.rows.batched else "one number"
            raise ValueError(f"minimise: fn returned {found.shape[-1]} numbers; it is to return {due}")
        return found[:, 0]

    def depends(self, y: Tensor) -> bool:
        """Whether the losses have a tape: gradients always have one."""
        return bool(y.numel()) and self.losses(y).requires_grad

    def optimality(self, y: Tensor) -> Tensor:
        """The gradient."""
        return self._sloped(y, True)[1]

    def sloped(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The losses (rows,) and their gradients (rows, n)."""
        return self._sloped(y, self.tape)

    def gradient(self, y: Tensor) -> Tensor:
        """The gradients alone, as numbers."""
        return self._sloped(y, False)[1]

    def _sloped(self, y: Tensor, tape: bool) -> tuple[Tensor, Tensor]:
        losses, pull = pulled(self.losses, y, tape)
        return losses, pull(torch.ones_like(losses))


class LeastSquares(Minima):
    """The least `½ |fn(y, args)|²`."""

    name = "least_squares"

    def losses(self, y: Tensor) -> Tensor:
        """Half of the sum of squares, shape (rows,)."""
        return self.numbers(y).square().sum(-1) / 2

    def linearised(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The residuals (rows, m) and their derivatives (rows, m, n)."""
        return jacobian(self.numbers, y, self.tape)
