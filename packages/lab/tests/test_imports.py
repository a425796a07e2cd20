"""Which files a script runs, found without running it and after it ran."""

from __future__ import annotations

import base64
import hashlib
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest

from torchflux_lab._imports import imported, loaded_files
from torchflux_lab._packages import Installed, installed, packages_of
from torchflux_lab._project import Project


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def test_imports_are_followed_wherever_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        tmp_path,
        {
            "experiments/e/e.py": "import json, picture\nfrom tool.deep import thing\n"
            "def f():\n    try:\n        import late\n    except ImportError:\n        import fallback\n",
            "experiments/e/picture.py": "import numpy",
            "experiments/e/late.py": "if True:\n    match 1:\n        case 1:\n            import cased",
            "experiments/e/fallback.py": "",
            "experiments/e/cased.py": "",
            "experiments/e/unused.py": "",
            "src/tool/__init__.py": "from ._inner import *",
            "src/tool/_inner.py": "import tool.deep.more",
            "src/tool/deep/__init__.py": "from .. import _sibling\nfrom ...nowhere import x",
            "src/tool/deep/more.py": "from . import thing",
            "src/tool/deep/thing.py": "lambda: __import__('tool.hidden')",
            "src/tool/_sibling.py": "from .deep.more import anything",
            "src/tool/hidden.py": "",
            ".venv/lib/site-packages/foreign.py": "",
        },
    )
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    monkeypatch.syspath_prepend(str(tmp_path / ".venv/lib/site-packages"))
    root = tmp_path.resolve()
    found = imported(root / "experiments/e/e.py", Project(root).owns)
    beside = {"e", "picture", "late", "fallback", "cased"}
    tools = {"__init__", "_inner", "deep/__init__", "deep/more", "deep/thing", "_sibling"}
    expected = {root / f"experiments/e/{name}.py" for name in beside} | {root / f"src/tool/{name}.py" for name in tools}
    assert found == expected


def test_a_loaded_file_belongs_to_its_package_and_a_stray_to_none() -> None:
    names, strangers = packages_of(loaded_files(), installed())
    assert "pytest" in names
    assert any(file.endswith("conftest.py") for file in strangers)
    assert not any("json/decoder.py" in file for file in strangers)  # the standard library's
    assert sys.modules["pytest"].__file__ not in strangers


def test_the_command_itself_is_no_stray(monkeypatch: pytest.MonkeyPatch) -> None:
    command = Path(sysconfig.get_path("scripts")) / "torchflux"
    monkeypatch.setitem(sys.modules, "made_up_main", SimpleNamespace(__file__=str(command)))
    assert str(command) not in loaded_files()


def test_what_the_compiler_has_generated_is_no_stray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generated = tmp_path.resolve() / "2h" / "c2h.main.so"
    generated.parent.mkdir()
    monkeypatch.setitem(sys.modules, "made_up_kernel", SimpleNamespace(__file__=str(generated)))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    assert str(generated) in loaded_files()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    assert str(generated) not in loaded_files()


def test_what_a_package_brings_along_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """setuptools puts its own copies of others on the path when it is imported."""
    brought = tmp_path / "site-packages" / "big" / "_vendor"
    for folder in (brought / "small-1.dist-info", tmp_path / "site-packages" / "big-2.dist-info"):
        write(folder, {"RECORD": "x.py,sha256=x,1\n"})
        monkeypatch.syspath_prepend(str(folder.parent))
    assert installed()["big"].version == "2"
    assert "small" not in installed()


def test_an_altered_file_is_found_by_what_record_says(tmp_path: Path) -> None:
    hashed = lambda text: (
        "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    )
    info = "Some_Tool-1.0+cpu.dist-info"
    lines = [f"tool.py,{hashed('x = 1')},5", f"gone.py,{hashed('')},0", f"../../bin/tool,{hashed('')},0", "tool.pyc,,"]
    write(tmp_path, {"tool.py": "x = 1", "gone.py": "", f"{info}/RECORD": "\n".join([*lines, f"{info}/RECORD,,"])})
    package = Installed(tmp_path / info)
    assert (package.name, package.version, list(package.files)) == ("some-tool", "1.0+cpu", ["tool.py", "gone.py"])
    assert list(package.altered()) == []
    (tmp_path / "tool.py").write_text("x = 2")
    (tmp_path / "gone.py").unlink()
    assert list(package.altered()) == ["tool.py", "gone.py"]


def test_the_hash_of_a_package_is_that_of_its_content_alone(tmp_path: Path) -> None:
    write(tmp_path, {"a/t-1.dist-info/RECORD": "t.py,sha256=x,1\nu.py,sha256=y,1\n../../bin/t,sha256=here,1\n"})
    write(
        tmp_path, {"b/t-1.dist-info/RECORD": "u.py,sha256=y,1\nt.py,sha256=x,1\nt-1.dist-info/INSTALLER,sha256=z,1\n"}
    )
    write(tmp_path, {"c/t-1.dist-info/RECORD": "u.py,sha256=y,1\nt.py,sha256=w,1\n"})
    a, b, c = (Installed(tmp_path / name / "t-1.dist-info").sha256 for name in "abc")
    assert a == b != c
