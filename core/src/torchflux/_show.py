"""How a model prints: its tree, with shapes, counts and bytes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ._walk import children, leaves

__all__ = ["show"]

WIDTH = 60


def show(model: Any) -> str:
    """A model as a tree: what each layer holds, how many parameters, how many bytes, and what looks wrong.

    Parameters that hold NaN or Inf, layers whose parameters are all zero, and frozen ones are marked. It is
    what `repr` of our layers gives; it takes any module, function or tree.

    >>> from torchflux import Chain, Dense, relu
    >>> print(show(Chain(Dense(784, 32, relu), Dense(32, 10))))
    Chain(
      0: Dense(weight 32×784, bias 32, relu),                     # 25,120 parameters
      1: Dense(weight 10×32, bias 10, identity),                  # 330 parameters
    )                                                             # 25,450 parameters in 4 arrays, 99.4 KiB
    """
    lines = list(_lines(model, "", ""))
    if len(lines) == 1:
        return lines[0].rstrip(",")
    lines[-1] = f"{lines[-1].rstrip(','):<{WIDTH}}  # {_total(model)}"
    return "\n".join(lines)


def _lines(node: Any, name: str, indent: str) -> Iterator[str]:
    label = f"{indent}{name}: " if name else indent
    inner = {key: part for key, part in children(node).items() if children(part) or _is_group(part)}
    if not inner:
        note = _note(node)
        yield f"{label}{_brief(node)},".ljust(WIDTH) + f"  # {note}" if note else f"{label}{_brief(node)},"
        return
    yield f"{label}{_title(node)}("
    for key, part in _parts(node).items():
        yield from _lines(part, str(key), indent + "  ")
    yield f"{indent}),"


def _is_group(node: Any) -> bool:
    return isinstance(node, nn.Module) and type(node).__name__ == "Group"


def _title(node: Any) -> str:
    kind = getattr(node, "_kind", None)
    return kind.__name__ if type(node).__name__ == "Group" and kind else type(node).__name__


def _parts(node: Any) -> dict[str, Any]:
    """All that a node shows: its tree parts, and the functions and numbers among its fields, in order."""
    if hasattr(node, "_names"):
        parts = dict(zip(node._names, node._parts(), strict=True))
        rest = {key: part for key, part in children(node).items() if key not in parts}
        return {**parts, **rest}
    fields = getattr(node, "__dataclass_fields__", None) or children(node)
    return {name: getattr(node, name) for name in fields} if isinstance(node, nn.Module) else children(node)


def _brief(node: Any) -> str:
    """A node without inner nodes, on one line: `Dense(weight 10×32, bias 10, relu)`."""
    if isinstance(node, Tensor):
        return _shape(node)
    if not isinstance(node, nn.Module):
        return getattr(node, "__name__", None) or repr(node)
    words = [_field(name, part) for name, part in _parts(node).items() if part is not None]
    return f"{_title(node)}({', '.join(words)})"


def _field(name: str, part: Any) -> str:
    if isinstance(part, Tensor):
        return f"{name} {_shape(part)}"
    if callable(part):
        return _brief(part)
    return f"{name}={part!r}"


def _shape(x: Tensor) -> str:
    kind = "" if x.dtype == torch.float32 else f" {str(x.dtype).removeprefix('torch.')}"
    return ("×".join(map(str, x.shape)) or "scalar") + kind


def _note(node: Any) -> str:
    parameters = [x for _, x in leaves(node) if isinstance(x, nn.Parameter)]
    if not parameters:
        return ""
    words = [f"{sum(x.numel() for x in parameters):,} parameters", *_warnings(parameters)]
    return ", ".join(words)


def _warnings(parameters: list[nn.Parameter]) -> Iterator[str]:
    if not any(x.requires_grad for x in parameters):
        yield "frozen"
    real = [x.detach() for x in parameters if x.numel() and not x.is_meta]
    if any(x.isnan().any() for x in real):
        yield "some NaN"
    if any(x.isinf().any() for x in real):
        yield "some Inf"
    if real and not any(x.any() for x in real):
        yield "all zero"


def _total(model: Any) -> str:
    unique = {id(x): x for _, x in leaves(model) if isinstance(x, Tensor)}.values()
    parameters = [x for x in unique if isinstance(x, nn.Parameter)]
    frozen = sum(x.numel() for x in parameters if not x.requires_grad)
    buffers = sum(x.numel() for x in unique if not isinstance(x, nn.Parameter))
    words = [f"{sum(x.numel() for x in parameters):,} parameters in {len(parameters)} arrays"]
    words += [f"{frozen:,} frozen"] if frozen else []
    words += [f"{buffers:,} in buffers"] if buffers else []
    return ", ".join([*words, _bytes(sum(x.nbytes for x in unique))])


def _bytes(n: int) -> str:
    size, units = float(n), iter(["bytes", "KiB", "MiB", "GiB", "TiB"])
    unit = next(units)
    while size >= 1024:
        size, unit = size / 1024, next(units)
    return f"{size:.4g} {unit}"
