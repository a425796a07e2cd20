"""What is linear in one argument, or in each of several: sums and reshapings, products, layers with a weight."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._elementwise import forms, in_place
from ._jet import RULES, Jet, Rule, component, multilinear, plus, scaled, value_of
from ._multi_index import Index, splits

__all__: list[str] = []


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


LINEAR = words("""
    reshape view view_as reshape_as flatten unflatten ravel squeeze unsqueeze transpose swapaxes swapdims permute
    movedim moveaxis t T mT adjoint expand expand_as broadcast_to repeat repeat_interleave tile sum mean cumsum
    select narrow __getitem__ index_select gather take take_along_dim masked_select flip fliplr flipud roll rot90 clone
    contiguous to type type_as float double half bfloat16 neg negative __neg__ positive __pos__ diag diagonal trace real
    imag conj resolve_conj view_as_real view_as_complex chunk split tensor_split unbind tril triu unfold diff cpu cuda
""")
LISTS = words("cat concat concatenate stack hstack vstack dstack column_stack row_stack")
BILINEAR = words("matmul __matmul__ mm bmm mv dot inner outer ger kron cross vdot vecdot tensordot")
AFFINE = words("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d")
ON_VALUES = words("""
    __eq__ __ne__ __lt__ __le__ __gt__ __ge__ eq ne lt le gt ge isnan isinf isfinite zeros_like ones_like full_like
    empty_like rand_like randn_like new_zeros new_ones new_full new_empty new_tensor argmax argmin any all detach
    allclose equal isclose floor_divide __floordiv__ __rfloordiv__ long int short char byte bool
""")
ABOUT = words(
    "size dim stride numel nelement is_floating_point is_complex is_contiguous __len__ ndimension element_size"
)
PROPERTIES = words("""
    shape dtype device ndim requires_grad is_leaf layout is_cuda is_sparse is_meta names grad_fn is_nested is_quantized
""")
DATA = words("__bool__ __float__ __int__ __index__ item tolist numpy __array__ data_ptr")


def linear(func: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a function that is linear in its first argument: each derivative goes through it like the value."""

    def apply(x: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(x, Jet):
            raise TypeError(f"{func.__name__} takes its index or shape from the coordinates, which has no derivative")
        return mapped(lambda v: func(v, *map(value_of, args), **kwargs), x)

    return apply


def mapped(op: Callable[[Tensor], Any], x: Jet) -> Any:
    """The jet, or tuple of jets, of a linear map."""
    value = op(x.value)
    if isinstance(value, Tensor) and not (value.is_floating_point() or value.is_complex()):  # rounded: it has steps
        return value
    if isinstance(value, tuple | list):
        parts: dict[Index, Any] = {}
        return tuple(_part(op, x, k, v, parts) for k, v in enumerate(value))

    def derive(_: Jet, index: Index) -> Tensor | None:
        change = component(x, index)
        return None if change is None else op(change.expand(x.value.shape))

    return Jet(value, derive, x.evaluation)


def _part(op: Callable[[Tensor], Any], x: Jet, k: int, value: Tensor, parts: dict[Index, Any]) -> Jet:
    """One of the results of a linear map that has several."""

    def derive(_: Jet, index: Index) -> Tensor | None:
        if index not in parts:
            change = component(x, index)
            parts[index] = None if change is None else op(change.expand(x.value.shape))
        return None if parts[index] is None else parts[index][k]

    return Jet(value, derive, x.evaluation)


def _joined(func: Callable[..., Tensor]) -> Callable[..., Any]:
    """Lists of tensors put together: a jet among them is enough."""

    def apply(xs: Sequence[Any], *args: Any, **kwargs: Any) -> Jet:
        values = [value_of(x) for x in xs]

        def derive(_: Jet, index: Index) -> Tensor | None:
            changes = [component(x, index) for x in xs]
            if all(change is None for change in changes):
                return None
            full = [
                torch.zeros_like(v) if c is None else c.expand(v.shape) for v, c in zip(values, changes, strict=True)
            ]
            return func(full, *args, **kwargs)

        jet = next(x for x in xs if isinstance(x, Jet))
        return Jet(func(values, *args, **kwargs), derive, jet.evaluation)

    return apply


def _bilinear(func: Callable[..., Tensor]) -> Callable[..., Any]:
    def apply(a: Any, b: Any, *args: Any, **kwargs: Any) -> Jet:
        op = lambda a, b: func(a, b, *args, **kwargs)
        return multilinear(op, op(value_of(a), value_of(b)), whole(a), whole(b))

    return apply


def whole(x: Any) -> Any:
    """A jet whose derivatives have the shape of its value, as matrix products need."""
    if not isinstance(x, Jet):
        return x

    def derive(_: Jet, index: Index) -> Tensor | None:
        change = component(x, index)
        return None if change is None else change.expand(x.value.shape)

    return Jet(x.value, derive, x.evaluation)


def _affine(func: Callable[..., Tensor]) -> Callable[..., Any]:
    def apply(x: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any) -> Any:
        op = lambda x, weight: func(x, weight, None, *args, **kwargs)
        moved = multilinear(op, op(value_of(x), value_of(weight)), whole(x), whole(weight))
        return moved if bias is None else moved + bias.reshape(-1, *[1] * (func_dimensions(func)))

    return apply


def func_dimensions(func: Callable[..., Any]) -> int:
    """The spatial dimensions of a convolution, from its name."""
    return int(func.__name__[-2])


def dense(x: Any, weight: Any, bias: Any = None) -> Any:
    """x Wᵀ + b. Derivatives that are the same in all points stay one row; matrices are kept with the points innermost,
    where element-wise work and matrix products are fastest."""
    if isinstance(bias, Jet):
        return dense(x, weight) + bias
    value = _product(value_of(x), value_of(weight), bias)
    return multilinear(_product, value, x, weight)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if x.shape[-1] != weight.shape[-1] and x.shape[-1] == 1:  # the same change in all features
        x = x.expand(*x.shape[:-1], weight.shape[-1])
    if x.dim() != 2 or weight.dim() != 2 or x.shape[0] <= x.shape[1]:
        return F.linear(x, weight, bias)
    columns = x.t().contiguous()  # (in, n)
    out = weight @ columns if bias is None else torch.addmm(bias[:, None], weight, columns)
    return out.t()


def _bilinear_form(x: Any, y: Any, weight: Any, bias: Any = None) -> Any:
    moved = multilinear(F.bilinear, F.bilinear(*map(value_of, (x, y, weight))), *map(whole, (x, y, weight)))
    return moved if bias is None else moved + bias


def _scaled_product(a: Any, b: Any, c: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    return beta * a + alpha * (b @ c)


def einsum(equation: str, *operands: Any) -> Jet:
    factors = operands[0] if len(operands) == 1 and isinstance(operands[0], tuple | list) else operands
    op = lambda *xs: torch.einsum(equation, *xs)
    return multilinear(op, op(*map(value_of, factors)), *map(whole, factors))


def multiply(a: Any, b: Any) -> Jet:
    return multilinear(torch.mul, torch.mul(value_of(a), value_of(b)), a, b)


def _sum(sign: int, swap: bool = False) -> Callable[..., Any]:
    """a ± alpha b, in which constants fall away from the derivatives."""

    def apply(a: Any, b: Any, *, alpha: Any = 1) -> Jet:
        a, b = (b, a) if swap else (a, b)
        value = combined(value_of(a), value_of(b), sign * alpha)

        def derive(_: Jet, index: Index) -> Tensor | None:
            return combined(component(a, index), component(b, index), sign * alpha)

        return Jet(value, derive, (a if isinstance(a, Jet) else b).evaluation)

    return apply


def combined(a: Any, b: Any, factor: Any) -> Any:
    """a + factor · b, where None is zero."""
    if b is None:
        return a
    if a is None:
        return b if factor == 1 else factor * b
    return a + b if factor == 1 else a - b if factor == -1 else a + factor * b


def divide(a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    """q = a / b. Its derivatives follow from those of a = q b (Griewank & Walther, table 13.2)."""
    if rounding_mode is not None:
        return torch.div(value_of(a), value_of(b), rounding_mode=rounding_mode)
    if not isinstance(b, Jet):
        return mapped_freely(lambda v: v / b, a)

    def derive(q: Jet, index: Index) -> Tensor | None:
        total = component(a, index)
        for count, (left, right) in splits(index, 2):
            if right and (change := component(b, right)) is not None and (factor := component(q, left)) is not None:
                total = plus(total, scaled(-count, factor * change))
        return None if total is None else total / b.value

    return Jet(torch.true_divide(value_of(a), b.value), derive, b.evaluation)


def mapped_freely(op: Callable[[Tensor], Tensor], x: Jet) -> Jet:
    """The jet of a linear map of each element, which need not be expanded."""

    def derive(_: Jet, index: Index) -> Tensor | None:
        change = component(x, index)
        return None if change is None else op(change)

    return Jet(op(x.value), derive, x.evaluation)


def where(condition: Any, a: Any, b: Any) -> Any:
    """The derivatives of whichever is chosen; the condition has none."""
    condition, values = value_of(condition), (value_of(a), value_of(b))
    jets = [x for x in (a, b) if isinstance(x, Jet)]
    value = torch.where(condition, *values)
    if not jets:
        return value

    def derive(_: Jet, index: Index) -> Tensor | None:
        left, right = component(a, index), component(b, index)
        if left is None and right is None:
            return None
        return torch.where(condition, 0.0 if left is None else left, 0.0 if right is None else right)

    return Jet(value, derive, jets[0].evaluation)


def _larger(func: Callable[..., Tensor], a_wins: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    def apply(a: Any, b: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(b, Tensor) or args or kwargs:
            raise TypeError(f"{func.__name__} of one tensor isn't known to jets; of two it is")
        return where(a_wins(value_of(a), value_of(b)), a, b)

    return apply


def _about(func: Callable[..., Any]) -> Callable[..., Any]:
    def ask(*args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    return ask


def _on_values(func: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: func(*map(value_of, args), **{k: value_of(v) for k, v in kwargs.items()})


def _of_data(name: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"{name} needs a number where the coordinates and what follows from them stand for all points at once: use "
            "torch.where for a choice that depends on them, and torch functions instead of Python's and NumPy's."
        )

    return refuse


def _assign(*_: Any) -> None:
    raise TypeError(
        "parts of a tensor are assigned to, x[...] = y, which jets can't follow: put it together by torch.stack or "
        "torch.cat, or choose by torch.where"
    )


def _register() -> None:
    for name in LINEAR:
        for func in (*forms(name), *_getter(name)):
            RULES[func] = linear(func)
    makers = ((LISTS, _joined), (BILINEAR, _bilinear), (AFFINE, _affine), (ON_VALUES, _on_values), (ABOUT, _about))
    for names, make in makers:
        for name in names:
            for func in forms(name):
                RULES[func] = make(func)
    for name in PROPERTIES:
        for func in _getter(name):
            RULES[func] = _about(func)
    for name in DATA:
        for func in forms(name):
            RULES[func] = _of_data(name)
    RULES[Tensor.__setitem__] = _assign
    RULES[Tensor.__iter__] = lambda x: iter(x.unbind(0))
    reverse = lambda a, b: divide(b, a)
    arithmetic: dict[str, Rule] = {
        "add": _sum(1), "__add__": _sum(1), "__radd__": _sum(1, swap=True),
        "sub": _sum(-1), "subtract": _sum(-1), "__sub__": _sum(-1),
        "rsub": _sum(-1, swap=True), "__rsub__": _sum(-1, swap=True),
        "mul": multiply, "multiply": multiply, "__mul__": multiply, "__rmul__": multiply,
        "div": divide, "divide": divide, "true_divide": divide, "__truediv__": divide,
        "__rtruediv__": reverse, "__rdiv__": reverse,
        "__rmatmul__": lambda a, b: torch.matmul(b, a), "addmm": _scaled_product,
        "linear": dense, "bilinear": _bilinear_form, "einsum": einsum, "where": where,
        "maximum": _larger(torch.maximum, torch.ge), "minimum": _larger(torch.minimum, torch.le),
    }  # fmt: skip
    for name, apply in arithmetic.items():
        for func in forms(name):
            RULES[func] = apply
        for func in (*forms(f"{name}_"), *(forms(f"__i{name.strip('_')}__") if name.startswith("__") else ())):
            RULES[func] = in_place(apply)
    RULES[Tensor.where] = lambda a, condition, b: where(condition, a, b)


def _getter(name: str) -> list[Any]:
    found = Tensor.__dict__.get(name, getattr(torch._C.TensorBase, name, None))
    return [found.__get__] if hasattr(found, "__get__") and not callable(found) else []


_register()
