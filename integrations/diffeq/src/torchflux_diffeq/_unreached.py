"""Parameters that get no gradient, by their names."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from torchflux import leaves

from ._captures import origin, tape
from ._lanes import transformed

__all__ = ["UnreachedWarning", "unreached", "warn_unreached"]


class UnreachedWarning(UserWarning):
    """A solution doesn't depend on all parameters of its equation."""


def unreached(module: nn.Module, result: Any) -> list[str]:
    """The names of a module's trainable parameters that a result's gradient doesn't flow to.

    `backward` leaves their `grad` as it is, which goes unnoticed. `solve` asks this if its `f` is a module, and warns;
    of a module that `f` only uses, some of whose parameters may be for something else, ask it yourself.

    Arguments:
        module: whose parameters they are.
        result: a tensor, or a tree of tensors, that was computed with them: a solution's `ys`, a loss.

    >>> from torchflux_diffeq import solve
    >>> net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
    >>> ys = solve(lambda t, y, args: net[0](y), torch.ones(1), (0.0, 1.0)).ys
    >>> unreached(net, ys)
    ['1.weight', '1.bias']
    """
    names = {origin(p): name for name, p in module.named_parameters() if p.requires_grad}
    ends = [(x.grad_fn, x.output_nr) for _, x in leaves(result) if isinstance(x, Tensor)]
    for place in tape(ends, set()) if names else ():
        names.pop(place, None)
        if not names:
            break
    return list(names.values())


def warn_unreached(f: Any, result: Any, level: int = 3) -> None:
    """Warns of a module's parameters that a solution doesn't depend on, where it is asked for with its gradient."""
    if not isinstance(f, nn.Module) or not torch.is_grad_enabled() or transformed():
        return
    names = unreached(f, result)
    if names and any(x.numel() for _, x in leaves(result) if isinstance(x, Tensor)):
        whose, more = type(f).__name__, ", ..." if len(names) > 8 else ""
        warnings.warn(
            f"parameters of {whose} that get no gradient, since the solution doesn't depend on them: "
            f"{', '.join(names[:8])}{more}. Use them in {whose}.forward, look there for detach(), item(), .data and "
            "no_grad(), or freeze them with requires_grad_(False)",
            UnreachedWarning,
            stacklevel=level,
        )
