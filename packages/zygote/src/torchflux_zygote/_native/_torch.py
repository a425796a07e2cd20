"""Native functions as torch operations: right under autograd, torch.func's transforms and torch.compile."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._ir import BOOL, F32, F64, INT, WEAK, Array, Op, Scalar, Type, Value
from ._operation import Batched, Operation

__all__ = ["as_tensor", "call", "plain"]

AnyOperation = Operation | Batched
DTYPES = {"float64": torch.float64, "float32": torch.float32, "int64": torch.int64, "bool_": torch.bool}
_TENSOR_TYPES: dict[Type, torch.dtype] = {t: DTYPES[str(t)] for t in (F64, F32, INT, BOOL, WEAK)}


def call(operation: AnyOperation, values: list[Any]) -> tuple[Any, ...]:
    """The operation on tensors and numbers; its results are tensors."""
    records = False
    for x in values:
        if isinstance(x, Tensor):
            if not x.is_cpu and x.device.type != "cpu":
                raise ValueError(f"native functions run on the CPU; this tensor is on {x.device}: move it with .cpu()")
            records = records or x.requires_grad
    eager = not torch._C._are_functorch_transforms_active() and not torch.compiler.is_compiling()
    if eager and torch.autograd.forward_ad._current_level < 0:  # no dual numbers are about
        if not (records and torch.is_grad_enabled()):
            return _run(operation, values)
        if isinstance(operation, Operation) and operation.one_float:
            return (_Slope.apply(operation, *values),)
    return _Call.apply(operation, *values)


def _run(operation: AnyOperation, values: list[Any]) -> tuple[Tensor, ...]:
    """The operation on tensors' own memory."""
    given = [plain(x) for x in values]
    found = [_own(x, given) if isinstance(x, np.ndarray) else x for x in operation(given)]
    return tuple(as_tensor(x, t) for x, t in zip(found, operation.results, strict=True))


def _own(x: np.ndarray, given: list[Any]) -> np.ndarray:
    """A result in memory of its own: PyTorch wouldn't know that it shares that of an argument."""
    return x.copy() if any(isinstance(y, np.ndarray) and np.may_share_memory(x, y) for y in given) else x


def plain(x: Any) -> Any:
    """A tensor's own memory as an array; a number of no dimensions as a number."""
    if not isinstance(x, Tensor):
        return x
    return x.item() if x.ndim == 0 else x.detach().resolve_neg().numpy()


def as_tensor(x: Any, t: Type) -> Tensor:
    """A result as a tensor."""
    if isinstance(x, np.ndarray):
        return torch.from_numpy(x if min(x.strides, default=0) >= 0 else x.copy())
    return torch.scalar_tensor(x, dtype=_TENSOR_TYPES[t])


# The operation that torch's compiler sees: known by a number, its results described by shapes.

_operations: list[AnyOperation] = []


def _number(operation: AnyOperation) -> int:
    """The number by which an operation is known."""
    if "number" not in operation.__dict__:
        operation.__dict__["number"] = len(_operations)
        _operations.append(operation)
    number: int = operation.__dict__["number"]
    return number


@torch.library.custom_op("torchflux_zygote::native", mutates_args=())
def _native(number: int, tensors: list[Tensor], floats: list[float], ints: list[int], order: str) -> list[Tensor]:
    """The operation as PyTorch's compiler calls it."""
    return list(_run(_operations[number], _ordered(tensors, floats, ints, order)))


def _ordered(tensors: list[Tensor], floats: list[float], ints: list[int], order: str) -> list[Any]:
    """The arguments in order, from tensors and numbers."""
    first, second, third = iter(tensors), iter(floats), iter(ints)
    kinds = {
        "t": lambda: next(first),
        "f": lambda: next(second),
        "i": lambda: next(third),
        "b": lambda: bool(next(third)),
    }
    return [kinds[c]() for c in order]


@_native.register_fake
def _(number: int, tensors: list[Tensor], floats: list[float], ints: list[int], order: str) -> list[Tensor]:
    """Results of the right shapes, of no content."""
    operation = _operations[number]
    values = _ordered(tensors, floats, ints, order)
    return [
        torch.empty(shape, dtype=DTYPES[str(_scalar_type(t))])
        for t, shape in zip(operation.results, shapes(operation, values), strict=True)
    ]


def _scalar_type(t: Type) -> Scalar:
    """The type of the numbers."""
    return t.dtype if isinstance(t, Array) else t


def shapes(operation: AnyOperation, values: list[Any]) -> list[tuple[int, ...]]:
    """The shapes of the results, from those of the inputs."""
    if isinstance(operation, Batched):
        n = next(x.shape[0] for x, batched in zip(values, operation.which, strict=True) if batched)
        inner = [x[0] if batched else x for x, batched in zip(values, operation.which, strict=True)]
        return [(n, *shape) for shape in shapes(operation.inner, inner)]
    known = _Sizes(operation, values)
    return [tuple(known.of(size) for size in known.shape(r)) for r in operation.program.block.results]


class _Sizes:
    """Works out the sizes of arrays from those of the parameters."""

    def __init__(self, operation: Operation, values: list[Any]) -> None:
        from ._analysis import definitions

        self.program = operation.program
        self.values = dict(zip(operation.program.params, values, strict=True))
        self.where = definitions(self.program.block)

    def shape(self, value: Value) -> tuple[Value, ...]:
        """The sizes of an array, as values."""
        if not isinstance(value.type, Array):
            return ()
        if value in self.program.sizes:
            return self.program.sizes[value]
        if value in self.program.like:
            return self.shape(self.program.like[value])
        if value in self.values:
            return tuple(Value(value.type, const=n) for n in self.values[value].shape)
        raise NotImplementedError(
            f"{self.program.name}: the shape of an array that it returns is not known before it runs, "
            "as torch.compile needs"
        )

    def of(self, value: Value) -> int:
        """A size, as a number."""
        if value.const is not None:
            return int(value.const)
        if value in self.values:
            size: int = self.values[value]
            return size
        item, _ = self.where.get(value, (None, 0))
        if isinstance(item, Op) and item.name == "shape":
            array = item.args[0]
            if array not in self.values:
                return self.of(self.shape(array)[item.attrs])
            length: int = self.values[array].shape[item.attrs]
            return length
        if isinstance(item, Op) and item.name in ("add", "sub", "mul", "floordiv", "max", "min"):
            a, b = (self.of(arg) for arg in item.args)
            return {
                "add": a + b,
                "sub": a - b,
                "mul": a * b,
                "floordiv": a // b if b else 0,
                "max": max(a, b),
                "min": min(a, b),
            }[item.name]
        raise NotImplementedError(
            f"{self.program.name}: the shape of an array that it returns depends on its values, "
            "as torch.compile can't have it"
        )


def _opaque(operation: AnyOperation, values: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """The operation as PyTorch's compiler sees it."""
    tensors = [x for x in values if isinstance(x, Tensor)]
    floats = [x for x in values if isinstance(x, float)]
    ints = [int(x) for x in values if isinstance(x, int)]
    order = "".join("t" if isinstance(x, Tensor) else {float: "f", int: "i", bool: "b"}[type(x)] for x in values)
    return tuple(_native(_number(operation), tensors, floats, ints, order))


class _Call(torch.autograd.Function):
    """Calls an operation; its derivatives are operations again."""

    @staticmethod
    def forward(operation: AnyOperation, *values: Any) -> tuple[Tensor, ...]:
        """The value."""
        tensors = [x for x in values if isinstance(x, Tensor)]
        if torch.compiler.is_compiling() or any(
            type(x) is not Tensor and type(x) is not torch.nn.Parameter for x in tensors
        ):
            return _opaque(operation, values)
        return _run(operation, list(values))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keeps the arguments for the derivatives."""
        ctx.operation, *values = inputs
        ctx.save_for_backward(*(x for x in values if isinstance(x, Tensor)))
        ctx.save_for_forward(*(x for x in values if isinstance(x, Tensor)))
        ctx.others = _others(values)
        ctx.mark_non_differentiable(*(y for k, y in enumerate(output) if k not in ctx.operation.floats))
        ctx.set_materialize_grads(True)

    @staticmethod
    def inputs(ctx: Any) -> list[Any]:
        """What the operation was called with."""
        saved = iter(ctx.saved_tensors)
        return [next(saved) if x is None else x for x in ctx.others]

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        """The cotangents of the arguments, by the reverse operation."""
        operation, values = ctx.operation, _Call.inputs(ctx)
        seeds = [cotangents[k].contiguous() for k in operation.floats]
        found = call(operation.reverse, [*values, *seeds])
        grads = dict(zip(operation.wrt, found[len(operation.results) :], strict=True))
        shared = {k for k in grads if isinstance(operation, Batched) and not operation.which[k]}
        return (
            None,
            *(
                _like(values[k], grads[k].sum(0) if k in shared else grads[k])
                if k in grads and isinstance(values[k], Tensor)
                else None
                for k in range(len(values))
            ),
        )

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Any) -> Any:
        """The tangents of the results, by the forward operation."""
        operation, values = ctx.operation, _Call.inputs(ctx)
        pushes = [tangents[k] if tangents[k] is not None else _zero(values[k]) for k in operation.wrt]
        found = call(operation.forward(1), [*values, *pushes])
        slopes = dict(zip(operation.floats, found[len(operation.results) :], strict=True))
        return tuple(slopes.get(k) for k in range(len(operation.results)))

    @staticmethod
    def vmap(info: Any, in_dims: Any, operation: AnyOperation, *values: Any) -> Any:
        """The operation over a batch."""
        dims = in_dims[1:]
        which = tuple(isinstance(x, Tensor) and d is not None for x, d in zip(values, dims, strict=True))
        moved = [x.movedim(d, 0) if b else x for x, d, b in zip(values, dims, which, strict=True)]
        results = call(operation.batched(which), moved)
        return results, tuple(0 for _ in results)


class _Slope(torch.autograd.Function):
    """The same for the function of one number, recorded once: its gradient is taken at once, and later scaled."""

    @staticmethod
    def forward(ctx: Any, operation: Operation, *values: Any) -> Tensor:
        """The value, with the gradient kept."""
        y, ctx.slopes = operation.value_and_gradient([plain(x) for x in values])
        ctx.operation = operation
        ctx.others = _others(values)
        ctx.save_for_backward(*(x for x in values if isinstance(x, Tensor)))
        return as_tensor(y, operation.results[0])

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Any:
        """The kept gradient times the cotangent; where it is recorded itself, as for other operations."""
        if torch.is_grad_enabled():
            return _Call.backward(ctx, cotangent)
        ctx.saved_tensors  # noqa: B018  # refuses tensors that have been changed in place since
        grads: list[Any] = [None] * (len(ctx.others) + 1)
        for k, slope in ctx.slopes.items():
            if ctx.needs_input_grad[k + 1]:
                grad = torch.from_numpy(slope) * cotangent if isinstance(slope, np.ndarray) else cotangent * slope
                grads[k + 1] = grad
        return tuple(grads)


def _others(values: Any) -> list[Any]:
    """What isn't a tensor, for the derivatives: arrays as they are now, since NumPy doesn't tell when they change."""
    return [None if isinstance(x, Tensor) else x.copy() if isinstance(x, np.ndarray) else x for x in values]


def _like(x: Tensor, grad: Tensor) -> Tensor:
    """A gradient in its argument's number type."""
    return grad if grad.dtype == x.dtype else grad.to(x.dtype)


def _zero(x: Any) -> Any:
    """A tangent of zero."""
    return torch.zeros_like(x) if isinstance(x, Tensor) else 0.0
