"""Conditions that are built into a model's output, and so hold exactly."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Hard"]


class Hard(nn.Module):
    """A model whose output is passed through a transform in which the conditions hold.

    **Arguments:**

    - `model`: points (n, d) to (n, 1) or (n, m).
    - `transform`: takes the model's output, each column under a field's name, and the coordinates by theirs, each (n,);
      gives what is (n,), or a tuple of as many as there are fields.
    - `fields`, `coordinates`: their names, one for each column.

    **Raises:** `TypeError` for a transform of other names; `ValueError` where the model has more columns or fewer.

    >>> import torch
    >>> from torchflux import Chain, Dense, tanh
    >>> net = Chain(Dense(1, 8, tanh), Dense(8, 1))
    >>> fixed = Hard(net, lambda u, x: 1 + x * (1 - x) * u, coordinates=("x",))
    >>> fixed(torch.tensor([[0.0], [1.0]])).detach().ravel()
    tensor([1., 1.])

    Source: Lagaris, Likas & Fotiadis (1998), doi:10.1109/72.712178.
    """

    def __init__(
        self,
        model: Callable[[Any], Any],
        transform: Callable[..., Any],
        *,
        fields: Iterable[str] = ("u",),
        coordinates: Iterable[str] = ("x", "t"),
    ) -> None:
        super().__init__()
        self.model, self.transform, self.fields, self.coordinates = model, transform, tuple(fields), tuple(coordinates)
        unknown = [
            name for name in inspect.signature(transform).parameters if name not in self.fields + self.coordinates
        ]
        if unknown:
            known = ", ".join(self.fields + self.coordinates)
            raise TypeError(f"the transform takes {', '.join(unknown)}; known are the fields and coordinates {known}")

    def forward(self, points: Tensor) -> Tensor:
        """The transformed output, (n, number of fields)."""
        y = self.model(points)
        y = y[:, None] if y.dim() == 1 else y
        if y.shape[1] != len(self.fields):
            raise ValueError(
                f"the model made {y.shape[1]} numbers of a point and the fields are {', '.join(self.fields)}: "
                "give a name to each"
            )
        known = {name: y[:, k] for k, name in enumerate(self.fields)}
        known |= {name: points[:, k] for k, name in enumerate(self.coordinates)}
        out = self.transform(**{name: known[name] for name in inspect.signature(self.transform).parameters})
        return torch.stack(list(out), 1) if isinstance(out, tuple) else out[:, None]

    def extra_repr(self) -> str:
        """The transform's own text, where it is known."""
        try:
            return inspect.getsource(self.transform).strip()
        except (OSError, TypeError):
            return repr(self.transform)
