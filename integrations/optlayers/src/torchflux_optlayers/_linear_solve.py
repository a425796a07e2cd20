"""Linear systems as functions of the matrix and the right side."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import scipy.sparse
import torch
from torch import Tensor

from ._adjoint import Implicit, lifted
from ._corrections import Solved
from ._derivatives import jacobian, pulled
from ._lanes import any_of, transformed
from ._linear_solvers import GMRES, Dense, Iterated, LinearSolver, factored
from ._outcome import which
from ._problem import Problem
from ._rows import Rows
from ._sparse import Sparse

__all__ = ["Operator", "linear_solve"]

Tree = Any


@dataclass(frozen=True)
class Operator:
    """A matrix of which only products are known.

    Arguments:
        fn: `fn(x, args)`, linear in `x`, whose result is laid out like it.
        args: any tree.
        batched: whether the tensors in `x` have a batch in front, whose elements don't depend on each other.

    >>> blur = Operator(lambda x, width: x + width * x.sum(), torch.tensor(0.5))
    >>> linear_solve(blur, torch.tensor([2.0, 3.0]))
    tensor([0.7500, 1.7500])
    """

    fn: Callable[..., Tree]
    args: Tree = None
    batched: bool = False


@torch.compiler.disable  # an iteration isn't traced, and compiled code calls it
def linear_solve(A: Any, b: Tree, *, solver: LinearSolver | None = None, orders: int = 2) -> Tree:
    """The x with `A x = b`, and its derivatives by the entries of A, or all that an operator uses, and by b.

    Arguments:
        A: a tensor (*, n, n); a sparse one of PyTorch's or of SciPy's, (n, n); `Sparse(pattern, values)`; or
            `Operator(fn, args)`.
        b: shape (*, n), where the batches `*` can be broadcast; of an operator, any tree.
        solver: of tensors and operators, `Dense()`, `CG()`, `GMRES()` or `NormalCG()`; by default `Dense()` for a
            tensor, `GMRES()` for an operator. Sparse matrices are factorised.
        orders: how often the solution of sparse and iterated systems can be differentiated.

    Raises:
        ValueError: a matrix has no inverse, or the shapes don't fit.
        RuntimeError: an iterative solver didn't converge.

    >>> A = torch.tensor([[2.0, 0.0], [1.0, 4.0]], requires_grad=True)
    >>> x = linear_solve(A, torch.tensor([2.0, 5.0]))
    >>> x, torch.autograd.grad(x.sum(), A)[0]
    (tensor([1., 1.], grad_fn=<...>), tensor([[-0.3750, -0.3750],
            [-0.2500, -0.2500]]))

    Source of the derivatives: Giles (2008), doi:10.1007/978-3-540-68942-3_4.
    """
    if isinstance(A, Operator):
        return _of_operator(A, b, solver or GMRES(), orders)
    A = Sparse(A) if scipy.sparse.issparse(A) else A
    A = Sparse.of(A) if isinstance(A, Tensor) and A.layout != torch.strided else A
    if not isinstance(A, Tensor | Sparse):
        raise TypeError(f"linear_solve: A is a {type(A).__name__}; pass a tensor, a sparse matrix or an Operator")
    entries, n = (A, A.shape[-1] if A.dim() > 1 else -1) if isinstance(A, Tensor) else (A.values, A.n)
    if not isinstance(b, Tensor) or b.shape[-1:] != (n,) or (isinstance(A, Tensor) and A.shape[-2] != n):
        given = tuple(A.shape) if isinstance(A, Tensor) else (n, n)
        raise ValueError(f"linear_solve: A is {given} and b {tuple(getattr(b, 'shape', ()))}: (*, n, n) and (*, n)")
    if entries.dtype != b.dtype:
        raise TypeError(f"linear_solve: A is {entries.dtype} and b {b.dtype}: convert one of them")
    if isinstance(A, Sparse):
        return _of_sparse(A, b, orders)
    if solver is None or isinstance(solver, Dense):
        return _of_tensor(A, b)
    batch = torch.broadcast_shapes(A.shape[:-2], b.shape[:-1])
    flat, right = A.expand(*batch, n, n).reshape(-1, n, n), b.expand(*batch, n).reshape(-1, n)
    times = lambda x, A: (A @ x.unsqueeze(-1)).squeeze(-1)
    return _of_operator(Operator(times, flat, True), right, solver, orders).reshape(*batch, n)


class _Products(Problem):
    """The products with an operator."""

    name = "linear_solve"

    def optimality(self, y: Tensor) -> Tensor:
        """That with `y`."""
        return self.rows.alike(self.called(y), len(y), "linear_solve: the operator's fn")


def _of_tensor(A: Tensor, b: Tensor) -> Tensor:
    """By factors; PyTorch's derivatives are of all orders."""
    _refuse(factored(A.detach().reshape(-1, *A.shape[-2:]))[1])
    batch = torch.broadcast_shapes(A.shape[:-2], b.shape[:-1])  # by hand: under vmap, PyTorch takes b for a matrix
    return torch.linalg.solve(A.expand(*batch, *A.shape[-2:]), b.expand(*batch, A.shape[-1]).unsqueeze(-1)).squeeze(-1)


def _of_sparse(A: Sparse, b: Tensor, orders: int) -> Tensor:
    """By SciPy's factors."""
    batch, factors = torch.broadcast_shapes(A.values.shape[:-1], b.shape[:-1]), A.factored()
    if len(factors.parts) > 1 and A.values.shape[:-1] != batch:
        raise ValueError(f"linear_solve: b has the batch {tuple(batch)}, the entries {tuple(A.values.shape[:-1])}")
    right, values = b.expand(*batch, A.n).reshape(-1, A.n), A.values.reshape(A.count, A.values.shape[-1])
    x = Solved.apply(right.detach(), *factors.both())
    equations = lambda x: A.times(x, values) - right
    failed = torch.zeros(len(right), dtype=torch.bool, device=b.device)
    return lifted(equations, x, failed, Implicit(factors, orders)).reshape(*batch, A.n)


def _of_operator(A: Operator, b: Tree, solver: LinearSolver, orders: int) -> Tree:
    """By products, or with the matrix that they make."""
    rows = Rows(b, A.batched)
    problem, right = _Products(A.fn, rows, A.args), rows.start()
    origin = torch.zeros_like(right.detach())
    if any_of(problem.optimality(origin).detach() != 0):
        raise ValueError("linear_solve: the operator isn't linear: of zeros, it isn't zero")
    if isinstance(solver, Iterated) and not transformed():
        pull = pulled(problem.optimality, origin)[1]
        with torch.no_grad():
            x = solver.solve(problem.optimality, pull, right.detach())
    else:
        divide, singular = factored(jacobian(problem.optimality, origin)[1].detach())
        _refuse(singular)
        x = divide(right.detach())
    equations = lambda x: problem.optimality(x) - right
    failed = torch.zeros_like(right[:, :0].sum(-1), dtype=torch.bool)
    return rows.unravel(lifted(equations, x, failed, Implicit(solver, orders)))


def _refuse(singular: Tensor) -> None:
    if any_of(singular):
        raise ValueError(f"linear_solve: the matrix has no inverse{which(singular)}, or is not finite: no solution")
