"""How the linear systems of the implicit function theorem are solved."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from ._corrections import Correction, Nothing, quiet
from ._derivatives import mixed, pulled, rows_of
from ._krylov import checked, conjugate_gradients, generalised_residuals
from ._lanes import any_of, transformed
from ._outcome import which

__all__ = ["CG", "GMRES", "Dense", "NormalCG"]

Function = Callable[[Tensor], Tensor]


class LinearSolver(ABC):
    """Solves linear systems with the Jacobian of some equations."""

    @abstractmethod
    def correction(self, equations: Function, z: Tensor, failed: Tensor, throw: bool) -> Function:
        """A function of r (rows, k) whose value is 0 and whose derivative that of `J⁻¹ r`, with J at `z` held constant.

        Of failed rows, and of those whose matrix has no inverse where `throw` is false, the derivative is NaN.
        """


@dataclass(frozen=True)
class Dense(LinearSolver):
    """Forms the Jacobian of each element and factorises it; of one unknown, it divides.

    A Jacobian is refused whose condition number, with rows and columns scaled, is above 0.1 / ε.

    >>> from torchflux_optlayers import linear_solve
    >>> linear_solve(torch.tensor([[2.0, 1.0], [1.0, 3.0]]), torch.tensor([3.0, 4.0]), solver=Dense())
    tensor([1., 1.])
    """

    def correction(self, equations: Function, z: Tensor, failed: Tensor, throw: bool) -> Function:
        """By factors that are computed once."""
        value, pull = pulled(equations, z)
        matrix = rows_of(value, pull).detach()
        if len(z) > 1 and not transformed() and mixed(value, pull, matrix):
            raise ValueError(
                "fn's results for one element of the batch depend on others: solve them without batched=True"
            )
        matrix = torch.where(failed[:, None, None], torch.eye(z.shape[-1], dtype=z.dtype, device=z.device), matrix)
        divide, singular = factored(matrix)
        if throw and any_of(singular):
            raise ValueError(
                f"the Jacobian at the solution has no inverse{which(singular)}: the solution isn't isolated (or "
                "several meet there), and has no derivative; see whether fn depends on all of y, by operations of "
                "torch, and fix what is left open; throw=False makes the gradient NaN"
            )
        bad = failed | singular
        if not any_of(bad):
            return lambda r: quiet(divide(r))
        return lambda r: torch.where(bad.unsqueeze(-1), Nothing.apply(r), quiet(divide(r)))


def factored(matrix: Tensor) -> tuple[Function, Tensor]:
    """What solves `A x = b` (rows, n) for matrices (rows, n, n), and which of them have no inverse (rows,)."""
    n = matrix.shape[-1]
    if n == 1:
        only = matrix[..., 0]
        singular = (only == 0) | ~only.isfinite()
        safe = torch.where(singular, 1.0, only)
        return lambda b: b / safe, singular.squeeze(-1)
    rows = matrix.abs().amax(-1, keepdim=True)
    rows = torch.where(rows > 0, rows, 1.0)
    columns = (matrix / rows).abs().amax(-2, keepdim=True)
    columns = torch.where(columns > 0, columns, 1.0)
    scaled, unit = matrix / rows / columns, torch.eye(n, dtype=matrix.dtype, device=matrix.device)
    finite = scaled.isfinite().all(-1).all(-1)
    factors, pivots, info = torch.linalg.lu_factor_ex(torch.where(finite[:, None, None], scaled, unit))
    inverse = torch.linalg.lu_solve(factors, pivots, unit.expand_as(matrix))
    condition = scaled.abs().sum(-1).amax(-1) * inverse.abs().sum(-1).amax(-1)
    singular = ~finite | (info != 0) | ~(condition < 0.1 / torch.finfo(matrix.dtype).eps)
    factors = torch.where(singular[:, None, None], unit, factors)

    def divide(b: Tensor) -> Tensor:
        found = torch.linalg.lu_solve(factors, pivots, b.unsqueeze(-1) / rows)
        return (found / columns.mT).squeeze(-1)

    return divide, singular


@dataclass(frozen=True)
class Iterated(LinearSolver):
    """A solver by products with the Jacobian, which is not formed (inside of `torch.func`'s transforms it is).

    The residual is checked: what hasn't converged is an error, when the gradient is computed.

    Arguments:
        rtol: of the residual; by default 1e-10 for float64 and 1e-5 for float32.
        max_steps: the products at most; by default ten for each number of an element.
    """

    rtol: float | None = None
    max_steps: int | None = None
    both: ClassVar[bool] = False
    """Whether products with the transpose are needed too."""

    @abstractmethod
    def iterate(self, product: Function, transposed: Function, b: Tensor, rtol: float, most: int) -> Tensor:
        """The solutions of `A x = b`."""

    def solve(self, product: Function, transposed: Function, b: Tensor) -> Tensor:
        """The solutions of `A x = b` (rows, n), checked."""
        with torch.no_grad():
            rtol = self.rtol or (1e-10 if b.dtype == torch.float64 else 1e-5)
            x = self.iterate(product, transposed, b, rtol, self.max_steps or 10 * b.shape[-1])
            return checked(repr(self), product, x, b, rtol)

    def correction(self, equations: Function, z: Tensor, failed: Tensor, throw: bool) -> Function:
        """By products, when there is a cotangent."""
        if transformed():
            return Dense().correction(equations, z, failed, throw)
        with torch.enable_grad():
            point = z.detach().requires_grad_()
            value = equations(point)
        keep = (~failed).unsqueeze(-1)
        transposed = lambda v: torch.where(keep, _pulled(value, point, v), v)
        product = lambda v: torch.where(keep, _pushed(value, point, v), v)
        solve, back = partial(self.solve, product, transposed), partial(self.solve, transposed, product)
        corrected = lambda r: Correction.apply(r, solve, back)
        return corrected if keep.all() else lambda r: torch.where(keep, corrected(r), Nothing.apply(r))


@dataclass(frozen=True)
class CG(Iterated):
    """Conjugate gradients, for symmetric and positive definite Jacobians, such as a strict minimum's.

    >>> from torchflux_optlayers import linear_solve
    >>> linear_solve(torch.tensor([[2.0, 1.0], [1.0, 3.0]]), torch.tensor([3.0, 4.0]), solver=CG())
    tensor([1.0000, 1.0000])

    Source: Hestenes & Stiefel (1952), doi:10.6028/jres.049.044.
    """

    def iterate(self, product: Function, transposed: Function, b: Tensor, rtol: float, most: int) -> Tensor:
        """The method."""
        return conjugate_gradients(product, b, rtol, most)


@dataclass(frozen=True)
class NormalCG(Iterated):
    """Conjugate gradients for `JᵀJ x = Jᵀb`: for any Jacobian with an inverse, but its condition number is squared.

    >>> from torchflux_optlayers import linear_solve
    >>> linear_solve(torch.tensor([[2.0, 1.0], [1.0, 3.0]]), torch.tensor([3.0, 4.0]), solver=NormalCG())
    tensor([1.0000, 1.0000])

    Source: Hestenes & Stiefel (1952), doi:10.6028/jres.049.044.
    """

    def iterate(self, product: Function, transposed: Function, b: Tensor, rtol: float, most: int) -> Tensor:
        """The method, and once more for what is left of the residual."""
        normal, x = lambda v: transposed(product(v)), torch.zeros_like(b)
        for _ in range(3):
            x = x + conjugate_gradients(normal, transposed(b - product(x)), rtol, most)
        return x


@dataclass(frozen=True)
class GMRES(Iterated):
    """The generalised minimal residual method, for any Jacobian with an inverse.

    Arguments:
        restart: after how many products the basis is begun anew.

    >>> from torchflux_optlayers import linear_solve
    >>> linear_solve(torch.tensor([[2.0, 1.0], [1.0, 3.0]]), torch.tensor([3.0, 4.0]), solver=GMRES())
    tensor([1.0000, 1.0000])

    Source: Saad & Schultz (1986), doi:10.1137/0907058.
    """

    restart: int = 50

    def iterate(self, product: Function, transposed: Function, b: Tensor, rtol: float, most: int) -> Tensor:
        """The method."""
        return generalised_residuals(product, b, rtol, most, self.restart)


def _pulled(value: Tensor, point: Tensor, v: Tensor, again: bool = False) -> Tensor:
    """The transposed Jacobian times a vector."""
    if not value.requires_grad:
        return torch.zeros_like(point)
    options: dict[str, Any] = {"retain_graph": True, "create_graph": again, "allow_unused": True}
    found = torch.autograd.grad(value, point, v, **options)[0]
    return torch.zeros_like(point) if found is None else found


def _pushed(value: Tensor, point: Tensor, v: Tensor) -> Tensor:
    """The Jacobian times a vector: the derivative of what the transposed makes of a cotangent, by that."""
    with torch.enable_grad():
        cotangent = torch.zeros_like(value, requires_grad=True)
        pulled = _pulled(value, point, cotangent, True)
    return _pulled(pulled, cotangent, v)
