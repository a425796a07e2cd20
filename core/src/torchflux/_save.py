"""Checkpoints: one safetensors file, written whole or not at all; no pickle is read or written."""

import dataclasses
import json
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ._model import loadmodel, state
from ._optimise import Optimiser, Rule
from ._walk import PathDict, children, rebuild

__all__ = ["load", "save"]

FORMAT = "torchflux checkpoint 1"


def save(path: str | os.PathLike[str], *, step: int = 0, **trees: Any) -> None:
    """Writes models, optimiser states, generators and any other trees into one safetensors file.

    The state of the global random generators (PyTorch's on all devices, and Python's) goes in as well.
    The file is written beside `path` and then takes its place: killed at any moment, `path` is what it was
    or what it is to be.

    Arguments:
        step: how far training has come.
        trees: modules, optimiser states (ours or `torch.optim`'s), `torch.Generator`s, and trees of tensors,
            numbers and strings, each under a name.

    Raises:
        TypeError: a tree holds something that is none of these; nothing is written.

    >>> import os, tempfile
    >>> from torchflux import Adam, Dense, setup
    >>> model = Dense(2, 2)
    >>> path = os.path.join(tempfile.mkdtemp(), "checkpoint.safetensors")
    >>> save(path, model=model, opt=setup(Adam(), model), step=7, losses=[0.5, 0.25])
    >>> kept = load(path, model=model, opt=setup(Adam(), model), rng=True)
    >>> kept["step"], kept["losses"]
    (7, [0.5, 0.25])
    """
    arrays: dict[str, Tensor] = {}
    forms = {name: _encode(x, name, arrays, {}) for name, x in {"step": step, **trees, "rng": _rng_state()}.items()}
    _write(Path(path), arrays, {"torchflux": json.dumps({"format": FORMAT, "trees": forms})})


def load(path: str | os.PathLike[str], *, rng: bool = False, **into: Any) -> dict[str, Any]:
    """Reads what `save` wrote: each tree into the object given under its name, in place.

    Arguments:
        rng: whether to set the global random generators to what they were.
        into: models, optimiser states, generators and trees of tensors to load into.

    Returns:
        The step and every tree that isn't loaded into anything; of a model its `state`.

    Raises:
        ValueError: the file is cut short, is not one of ours, or doesn't fit what it is loaded into.
        FileNotFoundError: there is no such file.
    """
    forms, arrays = _read(Path(path))
    kept = {name: _decode(form, arrays) for name, form in forms.items()}
    for name, target in into.items():
        if name not in kept:
            raise ValueError(f"{path} holds no {name!r}; it holds {', '.join(kept)}")
        try:
            _put(target, kept.pop(name))
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"{name!r} in {path} doesn't fit what it is loaded into: {error}") from error
    generators = kept.pop("rng")
    if rng:
        _set_rng_state(**generators)
    return kept


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        os.close(handle)
        save_file(tensors, temporary, metadata)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {}).get("torchflux", "{}"))
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or is cut short ({error})") from error
    if content.get("format") != FORMAT:
        hint = "loadmodel(model, safetensors.torch.load_file(path)) takes the weights of any other safetensors file"
        raise ValueError(f"{path} was not written by torchflux.save; {hint}")
    return content["trees"], arrays


# The form of a tree is written as JSON, with its tensors by name. A dataclass (the optimiser's leaves and rules) is
# written by its fields; it comes back as a dict, and is loaded into one of its kind.


def _encode(x: Any, path: str, arrays: dict[str, Tensor], seen: dict[int, str]) -> Any:
    if isinstance(x, bool | int | float | str | None):
        return x
    if isinstance(x := x.get_state() if isinstance(x, torch.Generator) else x, Tensor):
        name = seen.setdefault(id(x), path)  # tied tensors are stored once
        arrays[name] = x.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(x, tuple | list):
        return {type(x).__name__: [_encode(part, f"{path}/{i}", arrays, seen) for i, part in enumerate(x)]}
    if not isinstance(parts := _as_dict(x), dict):
        raise TypeError(
            f"can't save {path}: {type(x).__name__} is no tensor, number, string, module or nesting of these"
        )
    return {"dict": [[key, _encode(part, f"{path}/{key}", arrays, seen)] for key, part in parts.items()]}


def _as_dict(x: Any) -> Any:
    """Models, optimisers and dataclasses as dicts."""
    if isinstance(x, nn.Module):
        return state(x)
    if isinstance(x, torch.optim.Optimizer):
        return x.state_dict()
    return x.state if isinstance(x, Optimiser) else children(x) if dataclasses.is_dataclass(x) else x


def _decode(form: Any, arrays: dict[str, Tensor]) -> Any:
    if not isinstance(form, dict):
        return form
    ((kind, content),) = form.items()
    if kind == "tensor":
        return arrays[content]
    if kind == "dict":
        return PathDict({key: _decode(part, arrays) for key, part in content})
    return (tuple if kind == "tuple" else list)(_decode(part, arrays) for part in content)


def _put(target: Any, value: Any) -> None:
    """Puts what was saved into an object, in place."""
    if isinstance(target, nn.Module):
        loadmodel(target, value)
    elif isinstance(target, torch.Generator):
        target.set_state(value)
    elif isinstance(target, torch.optim.Optimizer):
        target.load_state_dict(value)
    else:
        target = target.state if isinstance(target, Optimiser) else target
        new = _like(target, value, [])
        if isinstance(target, dict):
            target.update(new)


def _like(old: Any, value: Any, rules: list[Any]) -> Any:
    """`value` in the shape of `old`; tensors are copied in place, and equal rules shared, as `update` wants them."""
    if isinstance(old, Tensor):
        if old.shape != value.shape:
            raise ValueError(f"a tensor of shape {tuple(value.shape)} for one of shape {tuple(old.shape)}")
        return old.detach().copy_(value)
    parts, values = children(old), children(value)
    if parts.keys() != values.keys():
        raise ValueError(f"{list(values)} was saved, {list(parts)} is expected")
    new = rebuild(old, {key: _like(part, values[key], rules) for key, part in parts.items()}) if parts else value
    if isinstance(new, Rule):
        rules += [] if new in rules else [new]
        return rules[rules.index(new)]
    return new


def _rng_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    version, words, gauss = random.getstate()
    return {"cpu": torch.get_rng_state(), "cuda": cuda, "python": (version, torch.tensor(words), gauss)}


def _set_rng_state(cpu: Tensor, cuda: list[Tensor], python: tuple[int, Tensor, float | None]) -> None:
    torch.set_rng_state(cpu)
    random.setstate((python[0], tuple(python[1].tolist()), python[2]))
    if cuda and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
