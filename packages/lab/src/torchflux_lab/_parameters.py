"""The parameters of an experiment: what its dataclass declares, and the values that were set."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass
from typing import Any, get_type_hints

from ._error import LabError
from ._results import plain
from ._values import describe, parse, revive, write

__all__ = ["Parameter", "parameters_from", "parameters_of", "parameters_with", "settings_of"]


@dataclass(frozen=True)
class Parameter:
    """One field of an experiment's `Parameters`."""

    name: str
    kind: Any
    default: Any
    help: str

    @property
    def setting(self) -> str:
        """The default, as it would be set."""
        return f"{self.name}={write(self.default)}"

    @property
    def expects(self) -> str:
        """What its type takes."""
        return describe(self.kind)


def parameters_of(declared: type[Any]) -> list[Parameter]:
    """What a dataclass of parameters declares, in its order.

    >>> @dataclass
    ... class Parameters:
    ...     seed: int = 0
    ...     rate: float = dataclasses.field(default=0.1, metadata={"help": "the learning rate"})
    >>> parameters_of(Parameters)[1]
    Parameter(name='rate', kind=<class 'float'>, default=0.1, help='the learning rate')

    **Raises:** `LabError` when a field has no default, a type is unknown, or there is no `seed: int`.
    """
    kinds = _kinds(declared)
    fields = [field for field in dataclasses.fields(declared) if field.init]
    found = [Parameter(f.name, kinds[f.name], _default(f), f.metadata.get("help", "")) for f in fields]
    if not any(parameter.name == "seed" and parameter.kind is int for parameter in found):
        raise LabError("Parameters has no seed, and every experiment has one. Add the field `seed: int = 0`.")
    return found


def _kinds(declared: type[Any]) -> dict[str, Any]:
    try:
        return get_type_hints(declared)
    except (NameError, AttributeError, TypeError) as error:
        raise LabError(f"A type in Parameters cannot be found: {error}. Import it in the script.") from error


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    if field.default is MISSING:
        raise LabError(f"The parameter '{field.name}' has no default. Give it one: `{field.name}: int = 0`, say.")
    return field.default


def parameters_with(declared: type[Any], settings: Iterable[str] = ()) -> Any:
    """An instance of a dataclass of parameters, with some of them set.

    **Arguments:**

    - `declared`: the dataclass.
    - `settings`: texts `key=value`; the value is read by the key's type. Sequences are written with commas.

    >>> @dataclass
    ... class Parameters:
    ...     seed: int = 0
    ...     lambdas: tuple[float, ...] = (1.0,)
    >>> parameters_with(Parameters, ["lambdas=0.1,1,10"])
    Parameters(seed=0, lambdas=(0.1, 1.0, 10.0))

    **Raises:** `LabError` for an unknown key, a value that its type does not take, a key set twice, or what
    the dataclass itself refuses (a `ValueError` in its `__post_init__`).
    """
    known = {parameter.name: parameter for parameter in parameters_of(declared)}
    values: dict[str, Any] = {}
    for setting in settings:
        key, text = _split(setting, known)
        if key in values:
            raise LabError(f"The parameter '{key}' is set twice.")
        values[key] = _value(text, known[key])
    return _instance(declared, values)


def _split(setting: str, known: dict[str, Parameter]) -> tuple[str, str]:
    """A setting's key and the text of its value."""
    key, equals, text = setting.partition("=")
    if not equals:
        raise LabError(f"'{setting}' sets nothing: write --set key=value, for example --set {_example(key, known)}.")
    if key.strip() not in known:
        raise LabError(_unknown(key.strip(), known))
    return key.strip(), text


def _example(key: str, known: dict[str, Parameter]) -> str:
    return known[key].setting if key in known else next(iter(known.values())).setting


def _unknown(key: str, known: dict[str, Parameter]) -> str:
    close = difflib.get_close_matches(key, known)
    question = f" Did you mean '{close[0]}'?" if close else ""
    width = max(len(parameter.setting) for parameter in known.values())
    lines = [f"    {parameter.setting:<{width}}   {parameter.expects}" for parameter in known.values()]
    return f"There is no parameter '{key}'.{question} There are, with their defaults:\n\n" + "\n".join(lines)


def _value(text: str, parameter: Parameter) -> Any:
    try:
        return parse(text, parameter.kind)
    except ValueError:
        raise LabError(
            f"'{parameter.name}' was given {text!r}, and {parameter.expects} was expected. "
            f"The default is {parameter.setting}."
        ) from None
    except TypeError:
        raise LabError(
            f"'{parameter.name}' cannot be set here: its type is {parameter.expects}, and only int, float, bool, str, "
            "Literal, Enum, None, and tuples and lists of these can be written as text."
        ) from None


def _instance(declared: type[Any], values: dict[str, Any]) -> Any:
    try:
        instance = declared(**values)
    except (ValueError, TypeError) as error:
        raise LabError(f"Parameters refuses these values: {error}") from error
    try:
        plain(dataclasses.asdict(instance), "parameters")
    except TypeError as error:
        raise LabError(f"{error} It is recorded with the results, so it must be plain data.") from error
    return instance


def settings_of(parameters: Any) -> list[str]:
    """What is not at its default, as it is set, and the seed.

    >>> @dataclass
    ... class Parameters:
    ...     seed: int = 0
    ...     steps: int = 100
    ...     rate: float = 0.1
    >>> settings_of(Parameters(steps=5))
    ['seed=0', 'steps=5']
    """
    values = [(each.name, getattr(parameters, each.name), each.default) for each in parameters_of(type(parameters))]
    return [f"{name}={write(value)}" for name, value, default in values if name == "seed" or value != default]


def parameters_from(declared: type[Any], recorded: Mapping[str, Any]) -> Any:
    """An instance of a dataclass of parameters, from the plain data that a record holds of one.

    >>> @dataclass
    ... class Parameters:
    ...     seed: int = 0
    ...     lambdas: tuple[float, ...] = (1.0,)
    >>> parameters_from(Parameters, {"seed": 3, "lambdas": [0.1, "Infinity"]})
    Parameters(seed=3, lambdas=(0.1, inf))

    **Raises:** `LabError` when they are not the parameters that are declared now.
    """
    known = {parameter.name: parameter for parameter in parameters_of(declared)}
    if other := sorted(known.keys() ^ recorded.keys()):
        which = ", ".join(f"'{name}' {'is new' if name in known else 'is gone'}" for name in other)
        raise LabError(f"The parameters are declared otherwise than when this was recorded: {which}.")
    instance = _instance(declared, {name: revive(value, known[name].kind) for name, value in recorded.items()})
    made = plain(dataclasses.asdict(instance), "parameters")
    if wrong := [name for name in known if made[name] != recorded[name]]:
        which = ", ".join(f"{name}={recorded[name]!r}" for name in wrong)
        raise LabError(f"What was recorded cannot be set as it was: {which}.")
    return instance
