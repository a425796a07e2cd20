"""How a program is refused while it runs: what was found and what to write instead, later the place."""

import functools
from typing import Any

__all__ = ["Refused", "describe"]


class Refused(NotImplementedError):
    """A program that can't be differentiated: `file:line:column`, what was found, and what to write instead.

    It is raised where the construct is met; the place is found from the traceback, which runs through
    generated code, when it leaves the run.
    """

    def __init__(self, found: str, advice: str, place: str = "") -> None:
        super().__init__(found, advice, place)
        self.found, self.advice, self.place = found, advice, place

    def __str__(self) -> str:
        head = f"{self.place}: " if self.place else ""
        return f"{head}{self.found} can't be differentiated; {self.advice}"


def describe(f: Any) -> str:
    """The full name of a function, for messages.

    >>> import math
    >>> describe(math.sin), describe([].append)
    ('math.sin', 'list.append')
    """
    if isinstance(f, functools.partial):
        return f"partial({describe(f.func)})"
    owner = getattr(f, "__self__", None)
    name = getattr(f, "__qualname__", None) or getattr(f, "__name__", None)
    if name is None:
        return f"an object of type {type(f).__module__}.{type(f).__qualname__}"
    module = getattr(f, "__module__", None) or getattr(owner, "__name__", None)
    full = f"{module}.{name}" if module and module != "builtins" else name
    return next((public + full[len(own) :] for own, public in _PUBLIC.items() if full.startswith(own)), full)


_PUBLIC = {
    "torch._VariableFunctionsClass.": "torch.",
    "torch._C._nn.": "torch.nn.functional.",
    "TensorBase.": "torch.Tensor.",
    "_operator.": "operator.",
}
"""How the functions of some classes and modules are called by their users."""
