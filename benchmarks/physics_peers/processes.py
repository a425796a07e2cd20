"""Peers with processes of their own: DeepXDE has one backend in a process, and trainings are timed from the start."""

import json
import os
import subprocess
import sys
from pathlib import Path

from physics_peers.burgers import LEVELS

HERE = Path(__file__).parent
ERRORS = {
    "torchflux, conditions built in, points refined": ("torchflux", "hard", None),
    "torchflux, DeepXDE's example": ("torchflux", "example", None),
    "DeepXDE on PyTorch, its example": ("deepxde", "example", "pytorch"),
    "DeepXDE on PyTorch, its example in float64": ("deepxde", "float64", "pytorch"),
    "DeepXDE on PyTorch, float64, conditions built in": ("deepxde", "hard", "pytorch"),
    "DeepXDE on JAX, its example, Adam alone": ("deepxde", "adam", "jax"),
}
STEPS = {"DeepXDE on PyTorch": "pytorch", "DeepXDE on JAX": "jax"}
MANY = 100
"""Iterations of DeepXDE in a call: its `train` looks at all losses before and after."""


def command(program, *arguments):
    return [sys.executable, str(HERE / f"of_{program}.py"), *map(str, arguments)]


def environment(folder, backend):
    """One thread, the folder that has DeepXDE, and this process's own path."""
    paths = [p for p in (folder and str(Path(folder).resolve()), *sys.path) if p]
    one = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    return os.environ | one | {"PYTHONPATH": os.pathsep.join(paths), "DDE_BACKEND": backend or ""}


class Steps:
    """DeepXDE's iterations of Adam: a call makes 100, and adds to `spent` its processor seconds, for one iteration."""

    def __init__(self, folder, backend):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command("deepxde", "steps"), env=environment(folder, backend), **pipes)
        self.spent = 0.0

    def __call__(self):
        print(MANY, file=self.process.stdin, flush=True)
        self.spent += self.answer() / MANY

    def answer(self):
        """The next line that is a number; DeepXDE prints others."""
        for line in self.process.stdout:
            try:
                return float(line)
            except ValueError:
                continue
        raise OSError(self.process.stderr.read().strip().splitlines()[-1])

    def end(self):
        self.process.communicate()


def looks(name, folder, seed, limit):
    """A training's looks at the error, dicts with `stage`, `seconds` and `error`."""
    program, way, backend = ERRORS[name]
    run = subprocess.run(
        command(program, "error", way, seed, limit), env=environment(folder, backend), capture_output=True, text=True
    )
    found = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    if run.returncode or not found:
        raise OSError(run.stderr.strip().splitlines()[-1])
    return found


def times(found):
    """Seconds until each of the levels, None for one that wasn't reached."""
    return [next((look["seconds"] for look in found if look["error"] <= level), None) for level in LEVELS]
