"""Functions that compiled programs call as they are."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

__all__ = ["eager"]

P = ParamSpec("P")
R = TypeVar("R")


def eager(f: Callable[P, R]) -> Callable[P, R]:
    """`f`, which `torch.compile` leaves as it is, between two graphs.

    `torch.compiler.disable` alone would import the compiler here and now, which takes a second.
    """

    @wraps(f)
    def called(*args: P.args, **options: P.kwargs) -> R:
        if torch.compiler.is_dynamo_compiling():
            return torch.compiler.disable(f)(*args, **options)
        return f(*args, **options)

    return called
