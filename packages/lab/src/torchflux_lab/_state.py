"""What a loop changes, as one file and back: torchflux's own checkpoints, with all that a script may hold besides.

A state is written as a tree of tensors, numbers and strings (`note`), and put back along the objects that are there
now (`put`): what can change in place does, so that whoever else holds it sees it too.
"""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import torchflux
from torchflux import PathDict, rebuild

from ._error import LabError

State = dict[str, Any]

WHOLE = nn.Module | torch.optim.Optimizer | torch.Generator | PathDict  # what torchflux saves, and loads in place
PLAIN = bool | int | float | str | None
ARRAY = "numpy array"  # the key under which an array lies as a tensor
TENSOR, STRIDES, TRAINS = "tensor", "strides", "trains"  # the keys of a tensor that is more than its numbers
NUMPY = "NumPy's generator"  # the global one; torchflux.save keeps the others


def save(path: Path, state: State, step: int, metrics: int) -> None:
    """Write a state atomically, with the steps that are done and the bytes of metrics that there are."""
    wholes: State = {}
    noted = {name: note(x, name, wholes) for name, x in state.items()}
    noted[NUMPY] = note(np.random.get_state(), NUMPY, wholes)  # noqa: NPY002
    torchflux.save(path, step=step, metrics=metrics, state=noted, **wholes)


def load(path: Path, state: State) -> int:
    """Put a saved state back into the objects that it came from, and give the number of its steps.

    **Raises:** `LabError` when the file is damaged, or is another state's.
    """
    wholes: State = {}
    for name, x in state.items():
        note(x, name, wholes)
    kept = _read(path, rng=True, **wholes)
    saved = decoded(kept.pop("state"))
    np.random.set_state(saved.pop(NUMPY))  # noqa: NPY002
    if other := sorted((saved.keys() ^ state.keys()) | (kept.keys() - {"step", "metrics"})):
        raise LabError(f"{path} is of another state: {', '.join(other)} is only in the file, or only in the script.")
    for name, x in state.items():
        _put_back(x, saved[name], name)
    return int(kept["step"])


def metrics_seen(path: Path) -> int:
    """How many bytes of metrics there were when a checkpoint was written."""
    return int(_read(path)["metrics"])


def _read(path: Path, **into: Any) -> dict[str, Any]:
    try:
        return torchflux.load(path, **into)
    except ValueError as error:
        raise LabError(f"The checkpoint cannot be put back: {error}") from error


def check(state: State) -> None:
    """Raise `TypeError` if something cannot be kept, or could not be put back."""
    for name, x in state.items():
        note(x, name, {})
        if isinstance(x, PLAIN | np.generic | tuple) or _is_frozen(x):
            raise TypeError(
                f"{name}={x!r} could not be put back: a {type(x).__name__} does not change in place. Keep it in a "
                f"dict, or as now.{name} with now = SimpleNamespace({name}=...) and Checkpoint(out, now=now)."
            )


def note(x: Any, path: str, wholes: State) -> Any:
    """The tree that stands for `x`; what torchflux saves by itself goes into `wholes`."""
    if isinstance(x, WHOLE):
        wholes[f"whole {path}"] = x
        return None
    if isinstance(x, np.ndarray | np.generic):
        return {ARRAY: _note_tensor(torch.from_numpy(np.array(x)))}
    if isinstance(x, Tensor):
        return _note_tensor(x)
    if isinstance(x, PLAIN):
        return x
    if isinstance(x, tuple | list):
        return (tuple if isinstance(x, tuple) else list)(note(part, f"{path}[{i}]", wholes) for i, part in enumerate(x))
    if isinstance(x, dict):
        if odd := [key for key in x if not isinstance(key, str | int)]:
            raise TypeError(
                f"{path} has the key {odd[0]!r}; a checkpoint keeps dicts with strings or integers as keys."
            )
        return {key: note(part, f"{path}[{key!r}]", wholes) for key, part in x.items()}
    if (fields := _fields(x)) is not None:
        return {name: note(part, f"{path}.{name}", wholes) for name, part in fields.items()}
    return note(_access(x, path)[0](), path, wholes)


def _note_tensor(x: Tensor) -> dict[str, Any]:
    """Sums and products round otherwise for another layout, so that it is kept; and whether gradients are wanted."""
    return {TENSOR: x, STRIDES: torch.empty_like(x).stride(), TRAINS: x.requires_grad and x.is_leaf}


def decoded(tree: Any) -> Any:
    """A tree as torchflux gives it back, in plain dicts and with tensors and arrays as they were."""
    if isinstance(tree, dict):
        if tree.keys() == {ARRAY}:
            return decoded(tree[ARRAY]).numpy()[()]
        if tree.keys() == {TENSOR, STRIDES, TRAINS}:
            x = tree[TENSOR]
            return torch.empty_strided(x.shape, tree[STRIDES], dtype=x.dtype).copy_(x).requires_grad_(tree[TRAINS])
        return {key: decoded(part) for key, part in tree.items()}
    return type(tree)(map(decoded, tree)) if isinstance(tree, tuple | list) else tree


def put(old: Any, new: Any, path: str) -> Any:
    """What takes the place of `old`: itself with the saved state, wherever it can change."""
    if isinstance(old, WHOLE):
        return old  # torchflux.load has done it
    if isinstance(old, Tensor) and isinstance(new, Tensor):
        return _fill(old, new, path) if old.requires_grad and old.is_leaf else _on(old.device, new)
    if isinstance(old, dict) and isinstance(new, dict):
        fresh = {key: put(old[key], x, path) if key in old else x for key, x in new.items()}
        old.clear()
        old.update(fresh)
        return old
    if isinstance(old, list) and isinstance(new, list):
        old[:] = [*map(put, old, new, [path] * len(new)), *new[len(old) :]]
        return old
    if isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
        return rebuild(old, dict(enumerate(map(put, old, new, [path] * len(new)))))
    if isinstance(old, PLAIN | np.ndarray | np.generic | Tensor | tuple | dict | list):
        return new
    if (fields := _fields(old)) is not None:
        return _put_fields(old, put(fields, new, path))
    _access(old, path)[1](new)
    return old


def _put_back(old: Any, new: Any, name: str) -> None:
    """Change an object that the script has named: it has to stay the same one."""
    if isinstance(old, Tensor):
        _fill(old, new, name)
    elif isinstance(old, np.ndarray):
        _fill(torch.from_numpy(old), torch.from_numpy(new), name)
    elif put(old, new, name) is not old:
        raise LabError(f"The checkpoint has something else for {name} than a {type(old).__name__}.")


def _on(device: torch.device, x: Tensor) -> Tensor:
    return x if x.device == device else x.detach().to(device).requires_grad_(x.requires_grad)


def _fill(old: Tensor, new: Tensor, path: str) -> Tensor:
    if (old.shape, old.dtype) != (new.shape, new.dtype):
        what = [f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}" for x in (new, old)]
        raise LabError(f"The checkpoint has {what[0]} for {path}, which is {what[1]} now.")
    with torch.no_grad():
        return old.copy_(new)


def _put_fields(old: Any, new: dict[str, Any]) -> Any:
    if _is_frozen(old):
        return rebuild(old, new)
    for name, x in new.items():
        setattr(old, name, x)
    return old


def _fields(x: Any) -> dict[str, Any] | None:
    """What a dataclass or a namespace holds by name; None for anything else."""
    if isinstance(x, SimpleNamespace):
        return dict(vars(x))
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return {field.name: getattr(x, field.name) for field in dataclasses.fields(x)}
    return None


def _is_frozen(x: Any) -> bool:
    return dataclasses.is_dataclass(x) and vars(type(x))["__dataclass_params__"].frozen


def _access(x: Any, path: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """How an object gives its state, and how it takes it."""
    if isinstance(x, np.random.Generator):
        return lambda: x.bit_generator.state, lambda state: setattr(x.bit_generator, "state", state)
    if isinstance(x, np.random.RandomState):
        return x.get_state, x.set_state
    if isinstance(x, random.Random):
        return x.getstate, x.setstate
    if hasattr(x, "state_dict") and hasattr(x, "load_state_dict"):
        return x.state_dict, x.load_state_dict
    raise TypeError(
        f"{path} is a {type(x).__name__}, which a checkpoint cannot keep. It keeps modules, optimisers, generators, "
        "whatever has state_dict and load_state_dict, and lists, dicts and dataclasses of these, tensors, arrays, "
        "numbers and strings."
    )
