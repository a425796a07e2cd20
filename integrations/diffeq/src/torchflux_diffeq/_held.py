"""Functions that keep the parameters that they had, whatever their modules hold later."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from torchflux import modules

__all__ = ["bare", "held", "modules_of", "numbers_of"]

Places = list[tuple[dict[str, Any], str, Tensor | None]]


def held(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, which may be called again for its gradient when `torch.func.functional_call` has put its parameters back.

    What its modules are (those that it is, is bound to, closes over, or has as attributes) is found as torchflux finds
    a model's parts.

    >>> import torch
    >>> net = torch.nn.Linear(1, 1, bias=False)
    >>> f = held(net)
    >>> before = f(torch.ones(1))
    >>> net.weight = torch.nn.Parameter(torch.zeros(1, 1))
    >>> bool(f(torch.ones(1)) == before), net(torch.ones(1)).item()
    (True, 0.0)
    """
    places: Places = [(m._parameters, name, x) for m in modules_of(f) for name, x in m._parameters.items()]
    return _Held(f, places) if places else f


def modules_of(f: Callable[..., Any]) -> list[nn.Module]:
    """The modules that a function uses; of an object that can be called, also its attributes."""
    own = [] if isinstance(f, nn.Module) else list(getattr(f, "__dict__", {}).values())
    return list(dict.fromkeys(module for part in (f, *own) for module in modules(part)))


def bare(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function that `held` was given."""
    return f.f if isinstance(f, _Held) else f


def numbers_of(f: Callable[..., Any]) -> int:
    """How many numbers the parameters have that a held function keeps."""
    return sum(x.numel() for _, _, x in f.places if x is not None) if isinstance(f, _Held) else 0


class _Held:
    """Calls a function with these parameters in their places."""

    def __init__(self, f: Callable[..., Any], places: Places) -> None:
        self.f, self.places = f, places

    def __call__(self, *args: Any) -> Any:
        changed = [(place, name, place.get(name)) for place, name, x in self.places if place.get(name) is not x]
        if not changed:
            return self.f(*args)
        _put(self.places)
        try:
            return self.f(*args)
        finally:
            _put(changed)


def _put(places: Places) -> None:
    for place, name, x in places:
        place[name] = x
