"""Compiled modules are kept on disk where that can be done, and are never stale."""

import os
import subprocess
import sys

import pytest
from numba.core.caching import CacheImpl

from torchflux_zygote._native._compile import loaded

TEXT = """
import numba

@numba.njit(cache=True)
def double(x):
    return {factor} * x
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHFLUX_CACHE", str(tmp_path))
    return tmp_path


def test_a_module_is_kept_under_its_text(folder):
    first = loaded(TEXT.format(factor=2), "rule", "some")
    assert first.double(4.0) == 8.0
    kept = {path.name for path in (folder / "some").rglob("*.nbc")}
    assert len(kept) == 1
    assert loaded(TEXT.format(factor=2), "rule", "some").double(4.0) == 8.0
    assert {path.name for path in (folder / "some").rglob("*.nbc")} == kept
    assert loaded(TEXT.format(factor=3), "rule", "some").double(4.0) == 12.0  # not what the old text said


def test_a_folder_that_can_not_be_made(folder, monkeypatch):
    (folder / "file").touch()
    monkeypatch.setenv("TORCHFLUX_CACHE", str(folder / "file"))
    assert loaded(TEXT.format(factor=4), "rule").double(4.0) == 16.0


def test_a_folder_in_which_numba_can_not_write(folder, monkeypatch):
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    assert loaded(TEXT.format(factor=5), "rule").double(4.0) == 20.0
    assert not list(folder.rglob("*.nbc"))


def test_processes_that_compile_at_once(tmp_path):
    call = f"print(loaded({TEXT.format(factor=6)!r}, 'rule').double(4.0))"
    script = f"from torchflux_zygote._native._compile import loaded; {call}"
    env = {**os.environ, "TORCHFLUX_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    started = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[0].strip() for process in started] == ["24.0"] * 2
    assert len(list(tmp_path.rglob("*.nbc"))) == 1
