"""How weights begin: initialisers from a shape, and the generator that they draw from.

An initialiser takes a weight's shape, (out, in / groups, *kernel), and draws each number once, which is what makes a
model quick to build. `drawing_from` makes everything that is drawn inside of it come from one explicit generator.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__: list[str] = []


def fan_in(*shape: int) -> int:
    """How many numbers each result is a sum of."""
    return math.prod(shape[1:])


def fan_out(*shape: int) -> int:
    """How many results of all groups together each input place takes part in, as PyTorch counts it."""
    return shape[0] * math.prod(shape[2:])


def normal(*shape: int, std: float = 0.01) -> Tensor:
    """N(0, std²)."""
    return torch.empty(shape).normal_(0, std)


def truncated(*shape: int, std: float = 0.02, cut: float = 2.0) -> Tensor:
    """N(0, std²) without what is beyond ±cut."""
    return nn.init.trunc_normal_(torch.empty(shape), 0, std, -cut, cut)


def uniform(*shape: int) -> Tensor:
    """U(±1 / √fan_in): PyTorch's default of linear maps and convolutions (LeCun et al. 1998)."""
    bound = 1 / math.sqrt(fan_in(*shape))
    return torch.empty(shape).uniform_(-bound, bound)


def uniform_out(*shape: int, gain: float = 1.0) -> Tensor:
    """U(±gain / √fan_out)."""
    bound = gain / math.sqrt(fan_out(*shape))
    return torch.empty(shape).uniform_(-bound, bound)


def he_normal(*shape: int) -> Tensor:
    """N(0, 2 / fan_in) (He et al. 2015, arXiv 1502.01852)."""
    return normal(*shape, std=math.sqrt(2 / fan_in(*shape)))


def he_normal_out(*shape: int) -> Tensor:
    """N(0, 2 / fan_out): the variant that keeps the size of gradients (He et al. 2015, equation 14)."""
    return normal(*shape, std=math.sqrt(2 / fan_out(*shape)))


def he_uniform(*shape: int) -> Tensor:
    """U(±√(6 / fan_in)) (He et al. 2015)."""
    bound = math.sqrt(6 / fan_in(*shape))
    return torch.empty(shape).uniform_(-bound, bound)


def glorot(*shape: int) -> Tensor:
    """U(±√(6 / (fan_in + fan_out))) (Glorot and Bengio 2010)."""
    bound = math.sqrt(6 / (fan_in(*shape) + fan_out(*shape)))
    return torch.empty(shape).uniform_(-bound, bound)


@contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Draws from `generator` what would be drawn from PyTorch's global one, whose state stays as it is."""
    if generator is None:
        yield
        return
    if generator.device.type != "cpu":
        raise ValueError(f"models are initialised on the CPU; the generator is on {generator.device}: give a CPU one")
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        try:
            yield
        finally:
            generator.set_state(torch.get_rng_state())
