"""Solutions as operations with derivatives of all orders, in reverse and forward mode, over batches, and compiled.

With its active rows known, a solution is that of a linear system, and so is each of its derivatives:

    K (x, λ) = (-p, d),    K (ẋ, λ̇) = (-ṗ - Q̇x - Ċ'λ, ḋ - Ċx)

So there are two functions: `_Solve`, whose derivatives call `_Reduced`, whose derivatives call `_Reduced`. Of Q the
symmetric part counts.
"""

from typing import Any

import torch
from torch import Tensor

from ._native import native_pullback
from ._route import Options, Result, is_native, reduced_system, solve
from ._scaling import Program
from ._solution import Status, complaint
from ._vmapped import apart, in_front

__all__ = ["solution"]

Tensors = tuple[Tensor, ...]


def _plain(*tensors: Any) -> bool:
    """Whether tensors have numbers that can be read here and now: no compiler looks on."""
    if torch.compiler.is_compiling():
        return False
    return all(x is None or type(x) is Tensor or type(x) is torch.nn.Parameter for x in tensors)


def _alone() -> bool:
    """Whether no function transform is under way."""
    return not torch._C._are_functorch_transforms_active()


def _solved(Q: Tensor, p: Tensor, C: Tensor, d: Tensor, equal: Tensor, warm_x: Tensor | None, warm_force: Tensor | None,
            options: Options, shape: list[int]) -> Result:  # fmt: skip
    """The result, x and force in the dtype of Q."""
    warm = None if warm_x is None or warm_force is None else (warm_x, warm_force)
    result, failed = solve(Program(Q, p, C, d, equal), warm, options)
    if failed and options.on_failure != "best":
        if options.on_failure == "raise":
            raise RuntimeError(complaint(result.status, shape))
        bad = (result.status != Status.SOLVED)[:, None]
        result = result._replace(x=result.x.masked_fill(bad, torch.nan), force=result.force.masked_fill(bad, torch.nan))
    x, force = _of_dtype(Q.dtype, result.x, result.force)
    return result._replace(x=x, force=force)


@torch.library.custom_op("torchflux_optlayers::solve", mutates_args=())
def _solve_op(
    Q: Tensor, p: Tensor, C: Tensor, d: Tensor, equal: Tensor, warm_x: Tensor | None, warm_force: Tensor | None,
    tol: float, max_iterations: int, on_failure: str, route: str, shape: list[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """What PyTorch's compiler sees of a solver."""
    options = Options(tol, max_iterations, on_failure, route)
    found: Any = tuple(_solved(Q, p, C, d, equal, warm_x, warm_force, options, shape))
    return found


@_solve_op.register_fake
def _(Q: Tensor, p: Tensor, C: Tensor, d: Tensor, *_: Any) -> Any:
    """Results of the right shapes, of no content."""
    B, k, n = C.shape
    counts = [Q.new_empty(B, dtype=torch.int64) for _ in range(2)]
    residuals, low, scales = (Q.new_empty(B, *s, dtype=torch.float64) for s in ((2,), (n, n), (n + k + 1,)))
    return Q.new_empty(B, n), Q.new_empty(B, k), *counts, residuals, Q.new_empty(B, k, dtype=torch.bool), low, scales


def _of_dtype(dtype: torch.dtype, *wide: Tensor) -> Tensors:
    """Tensors in double precision as those of another type."""
    return wide if dtype == torch.float64 else tuple([v.to(dtype) for v in wide])


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.mT) / 2


def _reduced_solved(Q: Tensor, C: Tensor, active: Tensor, low: Tensor, scales: Tensor, status: Tensor, r: Tensor,
                    t: Tensor, route: str) -> Tensors:  # fmt: skip
    return _of_dtype(Q.dtype, *reduced_system(Q, C, active, low, scales, status, r, t, route))


@torch.library.custom_op("torchflux_optlayers::reduced", mutates_args=())
def _reduced_op(
    Q: Tensor, C: Tensor, active: Tensor, low: Tensor, scales: Tensor, status: Tensor, r: Tensor, t: Tensor, route: str
) -> tuple[Tensor, Tensor]:
    """What PyTorch's compiler sees of the solver of a reduced system."""
    found: Any = _reduced_solved(Q, C, active, low, scales, status, r, t, route)
    return found


@_reduced_op.register_fake
def _(*given: Any) -> Any:
    """Results of the right shapes, of no content."""
    return torch.empty_like(given[6], dtype=given[0].dtype), torch.empty_like(given[7], dtype=given[0].dtype)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix * vector.unsqueeze(-2)).sum(-1)  # what autocast would have in half precision is `@`


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return a.unsqueeze(-1) * b.unsqueeze(-2)


class _Reduced(torch.autograd.Function):
    """The solution (u, v) of a reduced system; differentiable in Q (symmetric), C and the right-hand side."""

    @staticmethod
    def forward(*args: Any) -> Tensors:
        """The solution."""
        return _reduced_solved(*args) if _plain(*args[:-1]) else _reduced_op(*args)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keeps the system and its solution."""
        ctx.route = inputs[-1]
        ctx.save_for_backward(*inputs[:6], *output)
        ctx.save_for_forward(*inputs[:6], *output)

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        """Solves the system, which is symmetric, for the cotangents."""
        Q, C, active, low, scales, status, u, v = ctx.saved_tensors
        a, b = _Reduced.apply(Q, C, active, low, scales, status, *cotangents, ctx.route)
        return -_outer(a, u), -_outer(b, u) - _outer(v, a), None, None, None, None, a, b, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Solves the system for the tangents."""
        *system, u, v = ctx.saved_tensors
        return _pushed(system, (u, v), tangents[0], tangents[1], tangents[6], tangents[7], ctx.route)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """More systems."""
        return apart(info, _Reduced.apply(*in_front(info, in_dims[:-1], args[:-1]), args[-1])), (0, 0)


def _pushed(system: list[Tensor], found: Tensors, dQ: Any, dC: Any, dr: Any, dt: Any, route: str) -> Any:
    """The tangent of the solution of `K (u, v) = (r, t)`; tangents may be absent."""
    u, v = found
    dr, dt = torch.zeros_like(u) if dr is None else dr, torch.zeros_like(v) if dt is None else dt
    if dQ is not None:
        dr = dr - _times(dQ, u)
    if dC is not None:
        dr, dt = dr - _times(dC.mT, v), dt - _times(dC, u)
    return _Reduced.apply(*system, dr, dt, route)


class _Solve(torch.autograd.Function):
    """Solves programs; differentiable in Q, p, C and d."""

    @staticmethod
    def forward(*args: Any) -> Tensors:
        """The fields of a `Result`."""
        *tensors, options, shape = args
        return tuple(_solved(*args) if _plain(*tensors) else _solve_op(*tensors, *options, shape))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keeps the reduced system and its solution."""
        _keep(ctx, inputs[0], inputs[2], Result(*output), inputs[-2])
        ctx.mark_non_differentiable(*output[2:])

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        """Solves the reduced system for the cotangents."""
        *system, x, force = ctx.saved_tensors
        if ctx.may_fail:  # where the adjoints are 0, what is no number has no influence
            x, force = x.nan_to_num(), force.nan_to_num()
        pairs = zip(cotangents, (x, force), strict=False)
        given = *system, *(torch.zeros_like(like) if c is None else c for c, like in pairs)
        once = not torch.is_grad_enabled() and _alone() and _plain(*given)
        if once and is_native(ctx.route, x):
            return *_of_dtype(x.dtype, *native_pullback(*given, x, force)), *[None] * 5
        u, v = _Reduced.apply(_symmetric(given[0]), *given[1:], ctx.route)
        return -_symmetric(_outer(u, x)), -u, -_outer(v, x) - _outer(force, u), v, *[None] * 5

    @staticmethod
    def jvp(ctx: Any, dQ: Any, dp: Any, dC: Any, dd: Any, *_: Any) -> Any:
        """Solves the reduced system for the tangents."""
        Q, *system, x, force = ctx.saved_tensors
        dQ, dr = None if dQ is None else _symmetric(dQ), None if dp is None else -dp
        return *_pushed([_symmetric(Q), *system], (x, force), dQ, dC, dr, dd, ctx.route), *[None] * 6

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """More programs."""
        *tensors, options, shape = args
        moved = in_front(info, in_dims[:-2], tuple(tensors))
        return apart(info, _Solve.apply(*moved, options, [info.batch_size, *shape])), (0,) * 8


class _Attached(torch.autograd.Function):
    """A solution that is computed already gets the derivatives of `_Solve`: cheaper, where only autograd looks on."""

    @staticmethod
    def forward(ctx: Any, Q: Tensor, p: Tensor, C: Tensor, d: Tensor, result: Result, options: Options) -> Any:
        """The fields that have derivatives."""
        _keep(ctx, Q, C, result, options)
        return result.x, result.force

    @staticmethod
    def backward(ctx: Any, *cotangents: Any) -> Any:
        """That of `_Solve`."""
        return *_Solve.backward(ctx, *cotangents)[:4], None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """That of `_Solve`."""
        return _Solve.jvp(ctx, *tangents)[:2]


def _keep(ctx: Any, Q: Tensor, C: Tensor, result: Result, options: Options) -> None:
    """Keeps the reduced system and its solution."""
    ctx.route, ctx.may_fail = options.route, options.on_failure != "raise"
    status = result.status
    if options.on_failure == "nan":  # what was filled with NaN has no derivatives, though it may have a system
        status = status.masked_fill(status != Status.SOLVED, int(Status.NOT_FINITE))
    kept = Q, C, result.active, result.low, result.scales, status, result.x, result.force
    ctx.save_for_backward(*kept)
    ctx.save_for_forward(*kept)
    ctx.set_materialize_grads(False)


def solution(*args: Any) -> Tensors:
    """The fields of a `Result` for B programs, of: Q, p, C, d, `equal`; x and the forces of a warm start, or `None`;
    the fields of `Options`; the batch's shape.

    Raises:
        RuntimeError: programs weren't solved, and `on_failure` is "raise".
    """
    if torch.compiler.is_dynamo_compiling():
        _hide()
    return _applied(*args)


def _applied(
    Q: Tensor, p: Tensor, C: Tensor, d: Tensor, equal: Tensor, warm_x: Tensor | None, warm_force: Tensor | None,
    tol: float, max_iterations: int, on_failure: str, route: str, shape: list[int],
) -> Tensors:  # fmt: skip
    given, options = (Q, p, C, d, equal, warm_x, warm_force), Options(tol, max_iterations, on_failure, route)
    if _alone() and _plain(Q, p, C, d):
        result = _solved(*given, options, shape)
        return *_Attached.apply(Q, p, C, d, result, options), *result[2:]
    found: Tensors = _Solve.apply(*given, options, shape)
    return found


def _hide() -> None:
    """Has Dynamo not look into `_applied`: it silently drops a backward that it traces under func.grad
    (pytorch#193279)."""
    torch.compiler.allow_in_graph(_applied)


# Dynamo runs it, and doesn't trace it. `assume_constant_result` says just this, but imports Dynamo, for a second.
_hide._dynamo_marked_constant = True  # type: ignore[attr-defined]
