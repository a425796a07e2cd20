"""What is imported when, and what is missing without the extra."""

import subprocess
import sys

import pytest
import torch

from torchflux_optlayers import _route, solve_qp

SLOW = "numba", "torchflux_zygote"


def test_slow_imports_wait_until_they_are_needed():
    script = f"import sys, torchflux_optlayers; print([name for name in {SLOW} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_machine_code(monkeypatch):
    monkeypatch.setattr(_route, "available", lambda: False)
    assert solve_qp(torch.eye(2), torch.ones(2)).solved
    with pytest.raises(RuntimeError, match=r"pip install 'torchflux-optlayers\[native\]'"):
        solve_qp(torch.eye(2), torch.ones(2), route="native")
