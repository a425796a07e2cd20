"""`method.append` stands for a call of the method `append`: `pull(method.append, xs, x)` is `xs.append(x)`."""

from typing import Any

__all__ = ["Method", "method"]


class Method:
    """A method by its name; called with an object, it calls that object's method."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(x, self.name)(*args, **kwargs)

    def __repr__(self) -> str:
        return f"method.{self.name}"


_known: dict[str, Method] = {}


class _Methods:
    """`method.name` is the `Method` of that name, the same one every time."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return _Methods
        return _known.get(name) or _known.setdefault(name, Method(name))


method: Any = _Methods()
