"""Values as one writes them on a command line: text to value by the type, and value to text."""

from collections.abc import Callable
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def parse(text: str, kind: Any) -> Any:
    """The value of a type that a text stands for.

    >>> parse("1e-3", float), parse("no", bool), parse("none", int | None)
    (0.001, False, None)
    >>> parse("0.1,1,10", tuple[float, ...])
    (0.1, 1.0, 10.0)

    **Raises:** `ValueError` for a text that is no such value, `TypeError` for a type that has no text.
    """
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _parse_union(text, get_args(kind))
    if origin is Literal:
        return _choice(text, {write(value): value for value in get_args(kind)})
    if origin in (tuple, list) and get_args(kind):
        return origin(_parse_elements(text, origin, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _choice(text, kind.__members__)
    return _scalar(kind)(text)


def revive(value: Any, kind: Any) -> Any:
    """The value of a type that plain data, read from JSON, stands for; what stands for nothing else is itself.

    >>> revive([1.0, "NaN"], tuple[float, ...]), revive("none", str), revive(None, int | None)
    ((1.0, nan), 'none', None)
    """
    if get_origin(kind) in (Union, UnionType):
        kind = next((each for each in get_args(kind) if _is_of(value, each)), Any)
    if isinstance(value, list) and get_origin(kind) in (tuple, list):
        kinds = get_args(kind)
        kinds = (kinds[0],) * len(value) if get_origin(kind) is list or kinds[1:] == (Ellipsis,) else kinds
        return get_origin(kind)(map(revive, value, kinds))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind[value]
    return float(value) if kind is float and isinstance(value, str) else value


def _is_of(value: Any, kind: Any) -> bool:
    """Whether plain data may stand for a value of a type."""
    if isinstance(value, str) and kind is float:
        return value in ("NaN", "Infinity", "-Infinity")
    if isinstance(kind, type) and issubclass(kind, Enum):
        return value in kind.__members__
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    return isinstance(value, list if get_origin(kind) in (tuple, list) else kind)


def write(value: Any) -> str:
    """A value as `parse` reads it.

    >>> write((0.1, 1.0)), write(True), write(None)
    ('0.1,1.0', 'true', 'none')
    """
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool | None):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(map(write, value))
    return str(value)


def describe(kind: Any) -> str:
    """What a type expects, in a few words.

    >>> describe(float), describe(int | None), describe(Literal["relu", "tanh"])
    ('float', 'int or none', 'relu or tanh')
    """
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(describe, get_args(kind)))
    if get_origin(kind) is Literal:
        return " or ".join(map(write, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(kind.__members__)
    if kind is NoneType:
        return "none"
    return str(kind) if get_args(kind) else getattr(kind, "__name__", str(kind))


def _parse_union(text: str, kinds: tuple[Any, ...]) -> Any:
    """The first of the types that takes the text. `none` comes first: any text is a str."""
    for kind in sorted(kinds, key=lambda kind: kind is not NoneType):
        try:
            return parse(text, kind)
        except ValueError:
            continue
    raise ValueError(text)


def _parse_elements(text: str, origin: type, kinds: tuple[Any, ...]) -> list[Any]:
    parts = _parts(text)
    if origin is list or kinds[1:] == (Ellipsis,):
        kinds = (kinds[0],) * len(parts)
    if any(get_origin(kind) in (tuple, list) for kind in kinds):
        raise TypeError("commas separate one level only")
    return [parse(part, kind) for part, kind in zip(parts, kinds, strict=True)]


def _parts(text: str) -> list[str]:
    """What the commas separate; brackets around it all may be there.

    >>> _parts("1, 2"), _parts("(1,)"), _parts("[]")
    (['1', '2'], ['1'], [])
    """
    text = text.strip()
    if text[:1] + text[-1:] in ("()", "[]"):
        text = text[1:-1]
    parts = [part.strip() for part in text.split(",")]
    return parts[:-1] if parts[-1] == "" else parts


def _choice(text: str, choices: Any) -> Any:
    if text not in choices:
        raise ValueError(text)
    return choices[text]


def _scalar(kind: Any) -> Callable[[str], Any]:
    scalars: dict[Any, Callable[[str], Any]] = {int: int, float: float, str: str, bool: _bool, NoneType: _none}
    if kind not in scalars:
        raise TypeError(f"no text stands for a {describe(kind)}")
    return scalars[kind]


def _bool(text: str) -> bool:
    word = text.strip().lower()
    if word not in TRUE + FALSE:
        raise ValueError(text)
    return word in TRUE


def _none(text: str) -> None:
    if text.strip().lower() != "none":
        raise ValueError(text)
