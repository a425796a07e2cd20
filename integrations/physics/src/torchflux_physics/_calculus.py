"""Vector calculus of fields at a point, in Cartesian coordinates. Time, a coordinate named t, is left out."""

from collections.abc import Sequence
from typing import Any

import torch

from ._field import Field

__all__ = ["curl", "div", "grad", "laplacian"]

TIME = "t"


def spatial(field: Field) -> tuple[str, ...]:
    """The coordinates but for time."""
    return tuple(name for name in field.coordinates if name != TIME)


def grad(u: Field) -> Any:
    """The gradient: of a number (), the derivatives in space (d,); of a vector (m,), the Jacobian (m, d).

    >>> from torchflux_physics import residuals
    >>> points = torch.tensor([[1.0, 2.0]])
    >>> residuals(lambda u: grad(u) @ grad(u), lambda p: p[:, 0] * p[:, 1], points, coordinates="xy")
    {'residual': tensor([5.])}
    """
    derivatives: list[Any] = [u.derivative(x) for x in spatial(u)]
    return torch.stack(derivatives, -1)


def div(v: Field | Sequence[Field]) -> Any:
    """The divergence of a field of vectors (d,), or of d fields."""
    parts = components(v)
    names = spatial(parts[0])
    if len(parts) != len(names):
        raise ValueError(
            f"the divergence of {len(parts)} components in the coordinates {', '.join(names)}: give one for each"
        )
    return sum(
        (part.derivative(x) for part, x in zip(parts[1:], names[1:], strict=True)), parts[0].derivative(names[0])
    )


def laplacian(u: Field) -> Any:
    """The sum of the second derivatives in space; of each component, for a field of vectors."""
    first, *others = (u.derivative(x, x) for x in spatial(u))
    return sum(others, first)


def curl(v: Field | Sequence[Field]) -> Any:
    """In three dimensions a tuple of three fields, in two the field ∂v₁/∂x₀ - ∂v₀/∂x₁."""
    parts: list[Any] = components(v)
    names = spatial(parts[0])
    if len(parts) != len(names) or len(parts) not in (2, 3):
        raise ValueError(f"the curl of {len(parts)} components in {', '.join(names)}: give two or three, one for each")
    turn = lambda i, j: parts[j].derivative(names[i]) - parts[i].derivative(names[j])
    return turn(0, 1) if len(parts) == 2 else (turn(1, 2), turn(2, 0), turn(0, 1))


def components(v: Field | Sequence[Field]) -> list[Field]:
    """The components of a field of vectors, or fields that are given one by one."""
    if not isinstance(v, Field):
        return list(v)
    if len(v.shape) != 1:
        raise ValueError(f"a field of vectors (d,) was expected, not one of shape {tuple(v.shape)} at a point")
    return [v[k] for k in range(v.shape[0])]
