"""Which chains are compiled programs."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ._native_chains import NativeChains
from ._native_density import NotNative, density, is_native
from ._native_program import NativeProgram
from ._positions import Positions, Tree
from ._target import LogDensity

if TYPE_CHECKING:
    from ._nuts import nuts

__all__ = ["NotNative", "native_source"]

_DTYPES: dict[torch.dtype, Any] = {torch.float64: np.float64, torch.float32: np.float32}


def native_chains(
    alg: "nuts", logdensity: LogDensity, positions: Positions, batch: tuple[Any, ...]
) -> NativeChains | None:
    """The sampler in machine code; `None` where it is PyTorch's turn.

    Raises:
        NotNative: the route is "native", and that can't be.
    """
    if alg.route not in ("auto", "native", "torch"):
        raise ValueError(f"route={alg.route!r}: it is 'auto', 'native' or 'torch'")
    if alg.route == "torch":
        return None
    try:
        program, data = _program(alg, logdensity, positions, batch)
    except NotNative as reason:
        if alg.route == "native":
            raise NotNative(f"route='native': {reason}; or choose route='torch'") from None
        return None
    return NativeChains(program, data, positions.chains, alg.max_num_doublings, alg.divergence_threshold)


def native_source(alg: "nuts", position: Tree, *batch: Any, chains: bool = False) -> str:
    """The program that `run` compiles for such positions on the native route, as generated Python.

    Raises:
        NotNative: the native route can't sample this; the message says why.
    """
    return _program(alg, alg.logdensity, Positions(position, chains), batch)[0].source


def _program(
    alg: "nuts", logdensity: LogDensity, positions: Positions, batch: tuple[Any, ...]
) -> tuple[NativeProgram, list[Any]]:
    """The program, and the data that it takes; read anew if what the density depends on has changed."""
    path, example = positions.parts[0]
    if not is_native(logdensity):
        raise NotNative(f"the log density is {logdensity!r}: decorate it by @native of torchflux_zygote")
    if alg.batched:
        raise NotNative("batched=True: the compiled density takes one position")
    if path or len(positions.shapes[0]) != 1 or not positions.sizes[0]:
        raise NotNative(f"the position has parts of shapes {[tuple(x) for x in positions.shapes]}: pass one vector")
    if example.dtype not in _DTYPES or example.device.type != "cpu":
        raise NotNative(f"the position is {example.dtype} on {example.device}: it takes floats on the CPU")
    n = positions.sizes[0]
    found, data = density(logdensity, n, _DTYPES[example.dtype], batch)
    if n not in found.programs:
        found.programs[n] = NativeProgram(found, n)
    return found.programs[n], data
