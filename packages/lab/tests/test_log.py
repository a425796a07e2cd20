"""What a script prints is on the screen as it comes, and in the log as one reads it."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from torchflux_lab import LabError, _lock
from torchflux_lab._lock import is_held
from torchflux_lab._log import Log

if TYPE_CHECKING:
    from conftest import Project


def logged(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_what_is_printed_is_seen_and_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Log(tmp_path / "log.txt"):
        print("one", "λ", sep="  ")
        assert logged(tmp_path / "log.txt") == ["one  λ"]  # at once
        print("half", end="")
        assert logged(tmp_path / "log.txt") == ["one  λ"]
        print(" and half\nwarned", file=sys.stderr)
        sys.stdout.writelines(["a\n", "b\n"])
        print("no end", end="")
    assert logged(tmp_path / "log.txt") == ["one  λ", " and half", "warned", "halfa", "b", "no end"]
    assert capsys.readouterr() == ("one  λ\nhalfa\nb\nno end", " and half\nwarned\n")


def test_of_a_progress_bar_its_last_state_is_logged(tmp_path: Path) -> None:
    from tqdm import tqdm, trange

    with Log(tmp_path / "log.txt"):
        for i in (bar := trange(3, desc="training", mininterval=0)):
            bar.set_postfix(loss=i)
            if i == 1:
                tqdm.write("a word in between")
        for _ in trange(2, leave=False):
            pass
        print("after")
        print("10%", end="\r")
        print("20%", end="\r")
    lines = logged(tmp_path / "log.txt")
    assert lines[0] == "a word in between"
    assert lines[1].startswith("training: 100%|")
    assert "loss=2" in lines[1]
    assert lines[2] == "after"
    assert "20%" in lines
    assert not any("10%" in line or "0/3" in line for line in lines)


def test_a_terminal_stays_one(project: Project) -> None:
    """Progress bars ask for it, and for its width."""
    project.add_short("terminal", "import os, sys\nreturn {'is': sys.stdout.isatty(), 'of': sys.stderr.fileno()}")
    ours, theirs = pty.openpty()
    done = subprocess.run(
        project.command("run", "terminal", "-o", "here"), cwd=project.root, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0
    assert '"is": true' in (project.root / "here" / "results.json").read_text()


def test_the_screen_is_given_back(tmp_path: Path) -> None:
    before = sys.stdout, sys.stderr
    with pytest.raises(ZeroDivisionError), Log(tmp_path / "log.txt"):
        raise ZeroDivisionError
    assert (sys.stdout, sys.stderr) == before


def test_a_full_disk_ends_the_log_and_not_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    with Log(Path("/dev/full")):
        print("one")
        print("two")
    out, err = capsys.readouterr()
    assert out == "one\ntwo\n"
    assert err == "full cannot be written any more: No space left on device. The run goes on without it.\n"


def test_a_log_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"log\.txt cannot be written: No such file"), Log(tmp_path / "no" / "log.txt"):
        pytest.fail("was opened")


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: object, kind: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_lock.fcntl, "flock", flock)
    with pytest.raises(LabError, match=r"log\.txt cannot be locked: No locks available"), Log(tmp_path / "log.txt"):
        pytest.fail("was opened")


HOLD = """
import sys, time
from pathlib import Path
from torchflux_lab._log import Log
with Log(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_folder_is_held_until_the_process_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    assert not is_held(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert is_held(tmp_path)
        with pytest.raises(LabError, match="Another run is writing into"), Log(path):
            pytest.fail("was opened")
        other.kill()
        other.wait()
    assert not is_held(tmp_path)
    with Log(path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
