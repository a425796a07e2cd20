"""torchdiffeq's options that aren't here."""

from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["refuse_rest"]

INSTEAD = {
    "min_step": "leave it out: no step is made longer for it",
    "dtype": "leave it out: steps are chosen in float64",
    "step_size": "it is of the methods with fixed steps: leave it out, or pass max_step",
}
"""What to do about an option."""


def refuse_rest(method: str, options: Mapping[str, Any], *known: str) -> None:
    """Refuses options that aren't known."""
    for name, value in options.items():
        if name not in known or (name == "dtype" and value != torch.float64):
            instead = INSTEAD.get(name, f"known are {', '.join(known)}")
            raise NotImplementedError(f"option {name!r} of method={method!r}: {instead}")
