"""Private names in methods: inside `class C`, `__x` means `_C__x`."""

import ast
from typing import Any

__all__ = ["mangle"]


def mangle(node: Any, owner: str) -> Any:
    """The tree of a method of the class `owner`, changed in place: its private names written out.

    Source: the Python language reference, 6.2.1 "Private name mangling".

    >>> tree = mangle(ast.parse("self.__x = f(__y__, __k=1)"), "_Model")
    >>> ast.unparse(tree)
    'self._Model__x = f(__y__, _Model__k=1)'
    """
    owner = owner.lstrip("_")
    if owner:
        for inner in ast.walk(node):
            for name, value in ast.iter_fields(inner):
                if isinstance(value, str) and not isinstance(inner, ast.Constant):
                    setattr(inner, name, _private(value, owner))
                elif isinstance(value, list) and isinstance(inner, ast.Global | ast.Nonlocal):
                    setattr(inner, name, [_private(item, owner) for item in value])
    return node


def _private(name: str, owner: str) -> str:
    private = name.startswith("__") and not name.endswith("__") and "." not in name
    return f"_{owner}{name}" if private else name
