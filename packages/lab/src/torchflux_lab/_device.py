"""The device of a run: a parameter of experiments that have one, checked before anything is made."""

import sys
from typing import Any

from ._error import LabError

EXPECTED = "cpu, or an accelerator that PyTorch finds here: cuda, cuda:1, mps"


def refuse_undeclared(name: str, declared: type[Any]) -> None:
    """Raise `LabError` if an experiment cannot be told its device."""
    if "device" not in declared.__dataclass_fields__:
        raise LabError(
            f"--device: '{name}' has no parameter 'device', so it computes on the CPU. An experiment that can do "
            'otherwise declares `device: str = "cpu"` in Parameters, and puts its tensors there.'
        )


def refuse_unavailable(parameters: Any) -> None:
    """Raise `LabError` if PyTorch does not know the device that is set, or it is not here."""
    torch, device = sys.modules.get("torch"), getattr(parameters, "device", None)
    if torch is None or not isinstance(device, str):
        return
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise LabError(f"device={device} is not to be had: {reason}\nExpected is {EXPECTED}.") from error
