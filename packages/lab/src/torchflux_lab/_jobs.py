"""Commands carried out in parallel on this machine, each in a process of its own that ends with this one."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._take_up import command_for

__all__ = ["Here", "Job", "Outcome", "environment", "last_line"]

PATIENCE = 10.0  # seconds that a process has to end after it was asked to


@dataclass(frozen=True)
class Job:
    """A run of an experiment to be carried out in a folder: begun, or gone on with, as it is found there."""

    folder: Path
    name: str
    experiments: Path
    settings: tuple[str, ...]
    working: Path  # directory

    def command(self) -> list[str]:
        """What carries it out now."""
        return command_for(self.name, self.experiments, self.folder, self.settings)


@dataclass(frozen=True)
class Outcome:
    """How a job ended: its exit code, negative for a signal, and the last line it said."""

    code: int
    said: str


class Here:
    """Processes on this machine.

    **Arguments:**

    - `jobs`: how many there are at a time.
    - `threads`: how many each computes with.
    """

    def __init__(self, jobs: int, threads: int) -> None:
        self.jobs, self.threads = jobs, threads

    def ended(self, jobs: Sequence[Job]) -> Generator[tuple[Job, Outcome], None, None]:
        """Carry all of them out; each as it ends. What still runs when the iterator is closed is ended."""
        waiting, running = deque(jobs), dict[Job, Process]()
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    job = waiting.popleft()
                    running[job] = Process(job, self.threads)
                for job in [job for job, process in running.items() if process.has_ended()]:
                    yield job, running.pop(job).outcome()
                time.sleep(0.02)
        finally:
            stop(list(running.values()))


class Process:
    """A command in a session of its own, so that Ctrl-C reaches it only from here, and its own children too."""

    def __init__(self, job: Job, threads: int) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process's outcome
        self._process = subprocess.Popen(
            job.command(),
            cwd=job.working,
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            env=environment(threads),
            start_new_session=True,
        )

    def has_ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    def outcome(self) -> Outcome:
        """How it has ended."""
        with self._said:
            self._said.seek(0)
            return Outcome(self._process.wait(), last_line(self._said.read().decode(errors="replace")))

    def send(self, kind: int) -> None:
        """A signal to it and its children."""
        if self.has_ended():
            return
        if sys.platform == "win32":
            self._process.terminate()
        else:
            os.killpg(self._process.pid, kind)


def stop(processes: Sequence[Process]) -> None:
    """End processes as Ctrl-C does; those that don't listen are killed, at once on a second Ctrl-C."""
    try:
        for process in processes:
            process.send(signal.SIGINT)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not all(process.has_ended() for process in processes):
            time.sleep(0.02)
    finally:
        for process in processes:
            process.send(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
            process.outcome()


def environment(threads: int) -> dict[str, str]:
    """The variables of a process that computes with so many threads."""
    return os.environ | {"OMP_NUM_THREADS": str(threads)}


def last_line(text: str) -> str:
    """The last line with something in it.

    >>> last_line("one\\ntwo\\n\\n")
    'two'
    """
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
