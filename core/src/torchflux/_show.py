"""How a model prints: its tree, with shapes, counts and bytes."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ._walk import children, leaves

__all__ = ["show"]


def show(model: Any) -> str:
    """A model as a tree: what each layer holds, how many parameters, how many bytes, and what looks wrong.

    Parameters that hold NaN or Inf, layers whose parameters are all zero, and frozen ones are marked. It is
    what `repr` of our layers gives; it takes any module, function or tree.

    >>> from torchflux import Chain, Dense, relu
    >>> print(show(Chain(Dense(784, 32, relu), Dense(32, 10))))
    Chain(
      0: Dense(weight 32×784, bias 32, relu)                      # 25,120 parameters
      1: Dense(weight 10×32, bias 10, identity)                   # 330 parameters
    )                                                             # 25,450 parameters, 99.41 KiB
    """
    lines = list(_lines(model, "", ""))
    if isinstance(model, nn.Module):
        unique = {id(x): x for _, x in leaves(model) if isinstance(x, Tensor)}.values()
        count = sum(x.numel() for x in unique if isinstance(x, nn.Parameter))
        lines[-1] = (lines[-1][0], f"{count:,} parameters, {_bytes(sum(x.nbytes for x in unique))}")
    return "\n".join(f"{text:<60}  # {note}" if note else text for text, note in lines)


def _lines(node: Any, name: str, indent: str) -> Iterator[tuple[str, str]]:
    """The lines of a node, each with its note."""
    label = f"{indent}{name}: " if name else indent
    title = (node._kind if type(node).__name__ == "Group" else type(node)).__name__
    # Its parts, and the functions and numbers among its fields, in order.
    parts = {field: getattr(node, field, None) for field in getattr(node, "_fields", ())} | children(node)
    if not any(isinstance(part, nn.Module) for part in parts.values()):
        words = [_brief(key, part) for key, part in parts.items() if part is not None]
        whole = parts or hasattr(node, "_fields")
        yield label + (f"{title}({', '.join(words)})" if whole else _brief("", node)), _note(node)
        return
    yield f"{label}{title}(", ""
    for key, part in parts.items():
        yield from _lines(part, str(key), indent + "  ")
    yield f"{indent})", ""


def _brief(name: str, part: Any) -> str:
    """A part without parts, in a word or two: `weight 10×32`, `relu`, `stride=2`."""
    if isinstance(part, Tensor):
        kind = "" if part.dtype == torch.float32 else f" {str(part.dtype).removeprefix('torch.')}"
        return f"{name} {'×'.join(map(str, part.shape)) or 'scalar'}{kind}".strip()
    if callable(part):
        return getattr(part, "__name__", None) or repr(part)
    return f"{name}={part!r}" if name else repr(part)


def _note(node: Any) -> str:
    """How many parameters, and what looks wrong with them."""
    parameters = [x for _, x in leaves(node) if isinstance(x, nn.Parameter)]
    values = [x.detach() for x in parameters if x.numel() and not x.is_meta]
    flags = {
        "frozen": not any(x.requires_grad for x in parameters),
        "some NaN": any(x.isnan().any() for x in values),
        "some Inf": any(x.isinf().any() for x in values),
        "all zero": bool(values) and not any(x.any() for x in values),
    }
    words = [f"{sum(x.numel() for x in parameters):,} parameters", *(word for word, true in flags.items() if true)]
    return ", ".join(words) if parameters else ""


def _bytes(n: int) -> str:
    power = min(max(n.bit_length() - 1, 0) // 10, 4)
    return f"{n / 1024**power:.4g} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
