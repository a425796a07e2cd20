"""Checkpoints: one safetensors file, written whole or not at all; no pickle is read or written."""

import dataclasses
import json
import os
import random
import uuid
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from ._model import check_fit, loadmodel, named_tensors
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
        TypeError: a tree holds something that is none of these, or is called rng; nothing is written.

    >>> import os, tempfile
    >>> from torchflux import Adam, Dense, setup
    >>> model = Dense(2, 2)
    >>> path = os.path.join(tempfile.mkdtemp(), "checkpoint.safetensors")
    >>> save(path, model=model, opt=setup(Adam(), model), step=7, losses=[0.5, 0.25])
    >>> kept = load(path, model=model, opt=setup(Adam(), model), rng=True)
    >>> kept["step"], kept["losses"]
    (7, [0.5, 0.25])
    """
    if "rng" in trees:
        raise TypeError("rng is the name under which the state of the random generators goes in; choose another")
    writer = _Writer()
    forms = {name: writer.form(x, name) for name, x in {"step": step, **trees, "rng": _rng_state()}.items()}
    metadata = {"torchflux": json.dumps({"format": FORMAT, "trees": forms})}
    _write(Path(path), safetensors.torch.save(writer.arrays, metadata))


def load(path: str | os.PathLike[str], *, rng: bool = False, **into: Any) -> dict[str, Any]:
    """Reads what `save` wrote: each tree into the object given under its name, in place.

    Arguments:
        rng: whether to set the global random generators to what they were.
        into: models, optimiser states, generators and trees of tensors to load into.

    Returns:
        The step and every tree that isn't loaded into anything; of a model its `state`.

    Raises:
        ValueError: the file is cut short, is not one of ours, or doesn't fit what it is loaded into. Nothing has
            been changed then.
        FileNotFoundError: there is no such file.
    """
    kept = _read(Path(path))
    for name, target in into.items():
        if name not in kept:
            raise ValueError(f"{path} holds no {name!r}; it holds {', '.join(kept)}")
        try:
            _check(target, kept[name], name)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{name!r} in {path} doesn't fit what it is loaded into: {error}") from error
    for name, target in into.items():
        _put(target, kept.pop(name))
    generators = kept.pop("rng")
    if rng:
        _set_rng_state(**generators)
    return kept


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    content = path.read_bytes()  # at once: the file may be replaced meanwhile
    try:
        arrays = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or is cut short ({error})") from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    try:
        ours = json.loads(header["__metadata__"]["torchflux"])
        if ours["format"] != FORMAT:
            raise ValueError(ours["format"])
        return {name: _decode(form, arrays) for name, form in ours["trees"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "loadmodel(model, safetensors.torch.load_file(path)) takes the weights of any other safetensors file"
        raise ValueError(f"{path} was not written by torchflux.save ({error}); {hint}") from error


# The form of a tree is written as JSON, with its tensors by name. A dataclass (the optimiser's leaves and rules) is
# written by its fields; it comes back as a dict, and is loaded into one of its kind.


class _Writer:
    """The forms of trees, and the arrays that they name."""

    def __init__(self) -> None:
        self.arrays: dict[str, Tensor] = {}
        self.names: dict[int, tuple[str, Tensor]] = {}  # tied tensors are stored once; kept alive for their id

    def form(self, x: Any, path: str) -> Any:
        """What stands for `x` in the JSON."""
        if isinstance(x, bool | int | float | str | None):
            return x
        if isinstance(x := x.get_state() if isinstance(x, torch.Generator) else x, Tensor):
            return {"tensor": self.name(x, path)}
        if isinstance(x, tuple | list):
            kind = "tuple" if isinstance(x, tuple) else "list"
            return {kind: [self.form(part, f"{path}/{i}") for i, part in enumerate(x)]}
        if not isinstance(parts := _as_dict(x), dict):
            raise TypeError(f"can't save {path}: a {type(x).__name__} is no tensor, number, string, module or nesting")
        return {"dict": [[key, self.form(part, f"{path}/{key}")] for key, part in parts.items()]}

    def name(self, x: Tensor, path: str) -> str:
        """The name of a tensor among the arrays."""
        if id(x) not in self.names:
            name = path if path not in self.arrays else f"{path} {len(self.arrays)}"
            self.names[id(x)], self.arrays[name] = (name, x), x.detach().cpu().contiguous().clone()
        return self.names[id(x)][0]


def _as_dict(x: Any) -> Any:
    """Models, optimisers and dataclasses as dicts."""
    if isinstance(x, nn.Module):
        return named_tensors(x)
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
    return {"tuple": tuple, "list": list}[kind](_decode(part, arrays) for part in content)


def _check(old: Any, value: Any, path: str) -> None:
    """Refuses a value that can't be put into `old`."""
    old = old.state if isinstance(old, Optimiser) else old
    if isinstance(old, nn.Module):
        check_fit(old, value)
    elif isinstance(old, torch.optim.Optimizer):
        if [len(group["params"]) for group in old.param_groups] != [
            len(group["params"]) for group in value["param_groups"]
        ]:
            raise ValueError(f"{path} has other parameter groups")
    elif isinstance(old, Tensor):
        if old.shape != getattr(value, "shape", None):
            raise ValueError(f"{path} has shape {tuple(old.shape)}, the saved one {getattr(value, 'shape', value)}")
    elif not isinstance(old, torch.Generator):
        parts, values = children(old), children(value)
        if parts.keys() != values.keys() or isinstance(value, Tensor):
            raise ValueError(f"{path} has {list(parts)}, the saved one {list(values)}")
        for key, part in parts.items():
            _check(part, values[key], f"{path}.{key}")


def _put(target: Any, value: Any) -> None:
    target = target.state if isinstance(target, Optimiser) else target
    new = _filled(target, value, [])
    if isinstance(target, dict):
        target.update(new)
    elif isinstance(target, list):
        target[:] = new


def _filled(old: Any, value: Any, rules: list[Any]) -> Any:
    """`old` with the saved value: what can be is changed in place, and equal rules are shared, as `update` wants."""
    if isinstance(old, nn.Module):
        return loadmodel(old, value)
    if isinstance(old, torch.Generator):
        return old.set_state(value)
    if isinstance(old, torch.optim.Optimizer):
        return old.load_state_dict(value)
    if isinstance(old, Tensor):
        return old.detach().copy_(value)
    parts = children(old)
    new = rebuild(old, {key: _filled(part, value[key], rules) for key, part in parts.items()}) if parts else value
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
