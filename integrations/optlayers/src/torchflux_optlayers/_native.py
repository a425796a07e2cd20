"""The compiled route: machine code for a whole batch, kept on disk, its elements shared out to threads."""

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._scaling import Program

__all__ = ["available", "native_pullback", "native_reduced", "native_solve"]

MODULES = ("_constants", "_native_algebra", "_native_interior", "_native_batch")
WORTH_THREADS = 3e-4
"""Seconds of work from which on a batch is shared out to threads."""


@cache
def available() -> bool:
    """Whether Numba is installed."""
    return importlib.util.find_spec("numba") is not None


def native_solve(
    program: Program, warm: tuple[Tensor, Tensor] | None, tol: float, max_iterations: int
) -> tuple[Tensor, ...]:
    """The fields of a `Result` for programs on the CPU."""
    arrays = [np.ascontiguousarray(v.numpy()) for v in program]
    B, k, n = arrays[2].shape
    x, force = np.zeros((B, n)), np.zeros((B, k))
    if warm is not None:
        x[:], force[:] = warm[0].numpy(), warm[1].numpy()
    status, count = np.empty(B, np.int64), np.empty(B, np.int64)
    numbers, active, low, scales = (
        np.empty((B, 2)),
        np.empty((B, k), bool),
        np.empty((B, n, n)),
        np.empty((B, n + k + 1)),
    )
    outs = x, force, status, count, numbers, active, low, scales
    run = _compiled().solve_some
    _share_out(lambda a, b: run(a, b, *arrays, tol, max_iterations, warm is not None, *outs), B)
    return tuple(torch.from_numpy(v) for v in outs)


def native_reduced(*system: Tensor) -> tuple[Tensor, Tensor]:
    """`_route.reduced_system` on the CPU."""
    arrays = [np.ascontiguousarray(v.numpy()) for v in system]
    u, v = np.empty_like(arrays[-2]), np.empty_like(arrays[-1])
    run = _compiled().reduce_some
    _share_out(lambda a, b: run(a, b, *arrays, u, v), len(u))
    return torch.from_numpy(u), torch.from_numpy(v)


def native_pullback(*given: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients for Q, p, C and d: of a reduced system with its right-hand side, and the solution x and force."""
    arrays = [np.ascontiguousarray(v.numpy()) for v in given]
    Q, C, r, t = arrays[0], arrays[1], arrays[6], arrays[7]
    outs = np.empty_like(Q), np.empty_like(r), np.empty_like(C), np.empty_like(t)
    run = _compiled().pull_some
    _share_out(lambda a, b: run(a, b, *arrays, *outs), len(Q))
    dQ, dp, dC, dd = (torch.from_numpy(v) for v in outs)
    return dQ, dp, dC, dd


def _share_out(run: Callable[[int, int], None], n: int) -> None:
    """Runs a loop's range, in threads if that is worth while (the compiled code holds no lock)."""
    threads = min(torch.get_num_threads(), n)
    if threads < 2:
        run(0, n)
        return
    first, start = 1, time.perf_counter()
    run(0, first)
    if (time.perf_counter() - start) * n < WORTH_THREADS:
        run(first, n)
        return
    cuts = [first + (n - first) * k // threads for k in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run, a, b) for a, b in pairwise(cuts)]:
            done.result()


def cache_folder() -> Path:
    """Where machine code is kept: `TORCHFLUX_CACHE`, or the user's cache folder."""
    if given := os.environ.get("TORCHFLUX_CACHE"):
        return Path(given) / "optlayers"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torchflux" / "optlayers"


@cache
def _compiled() -> Any:
    """The program's modules as one, whose text is kept under its hash, so that Numba's code of it can't be stale."""
    import numba

    text = "\n".join(_text(name) for name in MODULES)
    key = hashlib.sha256(f"{numba.__version__} {sys.version} {text}".encode()).hexdigest()[:24]
    path = _kept(text, f"qp_{key}.py")
    if path is None:
        return importlib.import_module("torchflux_optlayers._native_batch")
    spec = importlib.util.spec_from_file_location(f"_torchflux_qp_{key}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _text(name: str) -> str:
    """A module's text without what it imports from the others."""
    text = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return re.sub(r"^from torchflux_optlayers\.\w+ import (\([^)]*\).*|.*)\n", "", text, flags=re.MULTILINE)


def _kept(text: str, name: str) -> Path | None:
    """The file that holds a text, if it can be written."""
    path = cache_folder() / name
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent)
            with os.fdopen(handle, "w") as file:
                file.write(text)
            os.replace(temporary, path)
        return path
    except OSError:
        return None
