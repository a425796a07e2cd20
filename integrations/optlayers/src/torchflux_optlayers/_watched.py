"""How well the backward solves of quadratic programs went, seen from outside."""

from collections.abc import Callable

import torch
from torch import Tensor

from ._solution import QPSolution

__all__ = ["watched"]


def watched(blocks: tuple[Tensor, ...], found: QPSolution, note: Callable[[Tensor], None]) -> None:
    """Has the residual of each backward pass noted, shape (B,), in relation to the cotangents.

    The gradients for p and for (h, b) are -u and v, where

        Qu + C'v = x̄,    Cu = λ̄ in the active rows.
    """
    Q, p, G, h, A, b = blocks
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or not found.x.requires_grad:
        return
    C, plain = torch.cat((G, A), 1).detach(), Q.detach()
    active = torch.cat(((found.slack == 0) & (found.z > 0), torch.ones_like(b, dtype=torch.bool)), 1).detach()
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[Tensor | None], None]:
        def hook(cotangent: Tensor | None) -> None:
            if cotangent is not None:
                seen[name] = cotangent.detach()
            if {"p", "h", "b"} <= seen.keys():
                note(_residual(plain, C, active, seen))
                seen.clear()

        return hook

    for name, tensor in {"x": found.x, "z": found.z, "y": found.y, "p": p, "h": h, "b": b}.items():
        tensor.register_hook(keep(name))


def _residual(Q: Tensor, C: Tensor, active: Tensor, seen: dict[str, Tensor]) -> Tensor:
    """By how much the system is missed."""
    u, v = -seen["p"], torch.cat((seen["h"], seen["b"]), 1)
    x_bar = seen.get("x", torch.zeros_like(u))
    forces = [seen.get(name, torch.zeros_like(seen[like])) for name, like in (("z", "h"), ("y", "b"))]
    wanted = torch.cat((x_bar, torch.cat(forces, 1) * active), 1)
    found = torch.cat(((Q @ u[..., None] + C.mT @ v[..., None])[..., 0], (C @ u[..., None])[..., 0] * active), 1)
    size, miss = wanted.abs().amax(1), (found - wanted).abs().amax(1)
    return torch.where(size > 0, miss / size, miss)
