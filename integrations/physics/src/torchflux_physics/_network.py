"""A model and the fields that it gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ._jet import Jet, inside_model, variables
from ._reverse import Reverse

__all__: list[str] = []


@dataclass(frozen=True)
class Network:
    """A model of points (n, d), and the names of its fields."""

    fields: tuple[str, ...]
    model: Callable[[Any], Any]

    def jets(self, points: Tensor) -> dict[str, Jet]:
        """The fields at points, with all derivatives in the coordinates: (n,), or (n, m) for a field of vectors."""
        if isinstance(self.model, Reverse):
            return self.columns(self.model.jet(points))
        return self.columns(self.called(variables(points)))

    def called(self, x: Any) -> Any:
        """The model's result, which must depend on the coordinates."""
        model = getattr(self.model, "_torchdynamo_orig_callable", self.model)  # torch.compile can't read jets
        with inside_model():
            y = (model if isinstance(x, Jet) else self.model)(x)
        if not isinstance(y, Tensor):
            raise TypeError(
                f"the model of {', '.join(self.fields)} returned a {type(y).__name__}; a tensor was expected"
            )
        if isinstance(x, Jet) and not isinstance(y, Jet):
            raise TypeError(
                f"the model of {', '.join(self.fields)} doesn't depend on the coordinates (a detach in it?)"
            )
        if y.shape[:1] != x.shape[:1] or y.dim() > 2:
            raise ValueError(
                f"the model of {', '.join(self.fields)} made {tuple(y.shape)} of points {tuple(x.shape)}; "
                f"{self.expected}"
            )
        return y

    def columns(self, y: Any) -> dict[str, Any]:
        """A model's result (n, m) or (n,), shared out to the fields."""
        width = 1 if y.dim() == 1 else y.shape[1]
        if len(self.fields) == 1:
            return {self.fields[0]: y if y.dim() == 1 else y[:, 0] if width == 1 else y}
        if width != len(self.fields):
            raise ValueError(f"the model of {', '.join(self.fields)} made {tuple(y.shape)}; {self.expected}")
        return {name: y[:, k] for k, name in enumerate(self.fields)}

    @property
    def expected(self) -> str:
        return (
            f"(n, {len(self.fields)}) was expected" if len(self.fields) > 1 else "(n,), (n, 1) or (n, m) was expected"
        )

    def elsewhere(self, name: str, like: Tensor) -> Callable[..., Any]:
        """The field as a function of the coordinates, which are like a tensor, for its value at other points."""

        def at(*place: Any) -> Any:
            parts = [
                p.to(like.device, like.dtype)
                if isinstance(p, Tensor)
                else torch.as_tensor(p, dtype=like.dtype, device=like.device)
                for p in place
            ]
            shape = torch.broadcast_shapes(*(p.shape for p in parts))
            point = torch.stack([p.expand(shape) for p in parts], -1)
            return self.columns(self.called(point.reshape(-1, len(parts))))[name].reshape(*shape, -1).squeeze(-1)

        return at


def networks(models: Any) -> tuple[Network, ...]:
    """The models by their fields' names; a single one is that of u."""
    if not isinstance(models, Mapping):
        return (Network(("u",), models),)
    found = tuple(Network(tuple(name.split()), model) for name, model in models.items())
    names = [name for network in found for name in network.fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ValueError(f"two models have a field {', '.join(twice)}" if twice else "no model is given")
    return found
