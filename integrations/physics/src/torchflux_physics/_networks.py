"""Networks that equations train well on: Fourier features, SIREN, the modified perceptron, factorised weights."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from torchflux import Chain, Dense, glorot_normal, tanh

__all__ = ["Factorised", "FourierFeatures", "ModifiedMLP", "PeriodicFeatures", "perceptron", "siren"]


def perceptron(nin: int, width: int, depth: int, nout: int = 1, activation: Callable[[Any], Any] = tanh) -> Chain:
    """`depth` hidden layers of `width`, weights by Glorot & Bengio's normal law.

    >>> len(list(perceptron(2, 20, 3).parameters()))
    8
    """
    sizes = [nin] + [width] * depth
    hidden = [Dense(a, b, activation, init=glorot_normal) for a, b in pairwise(sizes)]
    return Chain(*hidden, Dense(width, nout, init=glorot_normal))


class FourierFeatures(nn.Module):
    """x ↦ (cos 2π Bx, sin 2π Bx), with B drawn once from a normal law: lets a network have steep places.

    **Arguments:** `nin` coordinates, `features` (even) in the result, `scale` of B; a larger one fits finer detail.

    x: (n, nin) → (n, features)

    Source: Tancik et al. (2020), arXiv:2006.10739; in equations Wang, Wang & Perdikaris (2021), arXiv:2012.10047.
    """

    frequencies: Tensor

    def __init__(
        self, nin: int, features: int, scale: float = 1.0, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if features % 2:
            raise ValueError(f"features come in pairs of cosine and sine; {features} is odd")
        self.register_buffer("frequencies", scale * torch.randn(features // 2, nin, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """Cosines and sines."""
        phases = 2 * math.pi * nn.functional.linear(x, self.frequencies)
        return torch.cat([torch.cos(phases), torch.sin(phases)], -1)


class PeriodicFeatures(nn.Module):
    """Replaces a coordinate by cosines and sines of its period, so that every network of them is periodic, exactly.

    **Arguments:** `column` of the coordinate, its `period`, the number of `harmonics`.

    x: (n, d) → (n, d - 1 + 2 harmonics)

    Source: Dong & Ni (2021), doi:10.1016/j.jcp.2021.110242.
    """

    def __init__(self, column: int, period: float, harmonics: int = 1) -> None:
        super().__init__()
        self.column, self.period, self.harmonics = column, period, harmonics

    def forward(self, x: Tensor) -> Tensor:
        """The other coordinates, in order, then cosines and sines."""
        k, turn = self.column, 2 * math.pi / self.period
        angles = [m * turn * x[:, k : k + 1] for m in range(1, self.harmonics + 1)]
        waves = [f(angle) for angle in angles for f in (torch.cos, torch.sin)]
        return torch.cat([x[:, :k], x[:, k + 1 :], *waves], 1)


class _Sine(nn.Module):
    """sin(ω (Wx + b))."""

    def __init__(self, nin: int, nout: int, omega: float, bound: float) -> None:
        super().__init__()
        self.linear, self.omega = nn.Linear(nin, nout), omega
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.omega * self.linear(x))


def siren(nin: int, width: int, depth: int, nout: int = 1, *, omega: float = 30.0) -> Chain:
    """A network of sines, with the initial weights that keep its layers' distributions alike.

    Source: Sitzmann et al. (2020), arXiv:2006.09661, section 3.2.
    """
    bound = math.sqrt(6 / width) / omega
    first = _Sine(nin, width, omega, 1 / nin)
    last = nn.Linear(width, nout)
    nn.init.uniform_(last.weight, -bound, bound)
    return Chain(first, *(_Sine(width, width, omega, bound) for _ in range(depth - 1)), last)


class ModifiedMLP(nn.Module):
    """A perceptron whose hidden layers are mixtures of two encodings of the input, weighted by the layer.

    With U and V of the input: h ↦ σ(Wh + b) ⊙ U + (1 - σ(Wh + b)) ⊙ V.

    x: (n, nin) → (n, nout)

    Source: Wang, Teng & Perdikaris (2021), doi:10.1137/20M1318043, section 2.6.
    """

    def __init__(
        self, nin: int, width: int, depth: int, nout: int = 1, activation: Callable[[Any], Any] = tanh
    ) -> None:
        super().__init__()
        sizes = [nin] + [width] * depth
        dense: Any = lambda a, b: Dense(a, b, activation, init=glorot_normal)
        self.u, self.v = dense(nin, width), dense(nin, width)
        self.hidden = nn.ModuleList(dense(a, b) for a, b in pairwise(sizes))
        self.last = Dense(width, nout, init=glorot_normal)

    def forward(self, x: Tensor) -> Tensor:
        """The output."""
        u, v, h = self.u(x), self.v(x), x
        for layer in self.hidden:
            gate = layer(h)
            h = gate * u + (1 - gate) * v
        return self.last(h)


class Factorised(nn.Module):
    """A dense layer whose weight is diag(exp s) V, each row with its own trained scale.

    Made of a `Dense` layer it begins as the same function. Every dense layer of a model: `Factorised.every(model)`.

    x: (n, nin) → (n, nout)

    Source: Wang et al. (2022), Random weight factorization, arXiv:2210.01274.
    """

    def __init__(
        self, layer: Any, mean: float = 1.0, spread: float = 0.1, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        weight = layer.weight.detach()
        scale = mean + spread * torch.randn(len(weight), generator=generator).to(weight)
        self.scale, self.direction = nn.Parameter(scale), nn.Parameter(weight / scale.exp()[:, None])
        self.bias, self.activation = layer.bias, getattr(layer, "activation", lambda x: x)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        y = nn.functional.linear(x, self.scale.exp()[:, None] * self.direction, self.bias)
        return self.activation(y)

    @classmethod
    def every(cls, model: Chain, **options: Any) -> Chain:
        """A chain with all its dense layers factorised."""
        dense = (Dense, nn.Linear)
        return Chain(*(cls(layer, **options) if isinstance(layer, dense) else layer for layer in model))
