"""The native route of torchflux-zygote against hand-written Numba, JAX, Warp and torch, side by side in one run.

python benchmarks/zygote.py [--only WORD] [--rounds N] [--core N]

Everything runs in float64, on one core, in one thread. The peers of one table take turns; a ratio compares them round
by round, so that a slow moment of the machine hits both. Every gradient is compared with the hand-written one, and that
with finite differences. All rows hand over the value and the gradient; JAX's wait until they are there and leave them
in JAX's memory; Warp's launches are recorded once and replayed.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from timing import alternate, micro
from zygote_peers import bodies, heat, logistic, projectile, scalars
from zygote_peers.common import Workload, missing, vector

HAND, OURS, RIVALS = "hand-written", "native", ("JAX", "Warp")
AIM_HAND, AIM_PRIMAL, AIM_COLD, AIM_WARM, AIM_CALL = 1.3, 3.0, 3.0, 0.5, 15e-6

ONE_THREAD = {f"{pool}_NUM_THREADS": "1" for pool in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
ONE_THREAD["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

Seconds = dict[str, list[float]]


def ratio(seconds: Seconds, name: str, base: str) -> float:
    """The median over the rounds of how often one peer's time goes into another's."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[base], strict=True))


def fastest(seconds: Seconds, *starts: str) -> str | None:
    """The peer with the smallest median among those whose names start so."""
    names = [name for name in seconds if name.startswith(starts)]
    return min(names, key=lambda name: statistics.median(seconds[name]), default=None)


def error(result, reference: np.ndarray) -> float:
    """The largest error of a value and gradient, relative to each number (or to a thousandth of the largest)."""
    found = vector(result)
    if found.shape != reference.shape:
        return np.inf
    scale = np.maximum(np.abs(reference), 1e-3 * np.abs(reference).max())
    wrong = np.abs(found - reference) / scale
    return float(wrong.max()) if np.isfinite(wrong).all() else np.inf


def canary(w: Workload, reference: np.ndarray) -> None:
    """The comparison must refuse a gradient of which one number is off by a millionth."""
    wrong = reference.copy()
    wrong[1 + np.abs(wrong[1:]).argmax()] *= 1 + 1e-6
    if error((wrong,), reference) <= w.loose:
        raise AssertionError(f"{w.title}: the comparison takes a wrong gradient for a right one")


def by_differences(w: Workload, reference: np.ndarray) -> None:
    """The hand-written gradient against a central difference along a random direction."""
    if w.line is None:
        return
    h, direction = 1e-6, np.random.default_rng(1).normal(size=len(reference) - 1)
    slope = (w.line(h * direction) - w.line(-h * direction)) / (2 * h)
    exact = float(reference[1:] @ direction)
    if abs(slope - exact) > 1e-4 * max(abs(exact), np.linalg.norm(reference[1:])):
        raise AssertionError(f"{w.title}: {w.base} gives the slope {exact}, finite differences {slope}")


def prune(w: Workload, peers: dict) -> dict:
    """The peers that run, warmed up; one that breaks becomes a note."""
    working = {}
    for name, peer in peers.items():
        try:
            peer()
            working[name] = peer
        except Exception as problem:
            lines = str(problem).strip().splitlines() or [""]
            w.notes.append(f"{name} breaks: {type(problem).__name__}: {' '.join(lines[:2])[:160]}")
    return working


def measure(w: Workload, rounds: int) -> dict[str, str] | None:
    """Runs a workload and prints its table; returns the line of the summary."""
    primals, gradients = prune(w, w.primals), prune(w, w.gradients)
    reference = vector(gradients[w.base]())
    by_differences(w, reference)
    canary(w, reference)
    errors = {name: error(peer(), reference) for name, peer in gradients.items()}
    for name, wrong in errors.items():
        if wrong > w.loose:
            w.notes.append(f"{name} is WRONG: relative error {wrong:.1e}")
    peers = {f"{name}: value": peer for name, peer in primals.items()} | gradients
    seconds = alternate(peers, rounds, spell=0.008)
    primal = f"{HAND}: value"
    print(f"\n### {w.title}\n\n| peer | median | quartiles | ÷ {w.base} | ÷ {primal} | error |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, times in seconds.items():
        low, middle, high = (micro(t) for t in statistics.quantiles(times, n=4))
        ratios = f"{ratio(seconds, name, w.base):.2f} | {ratio(seconds, name, primal):.2f}"
        print(f"| {name} | {middle} | {low}–{high} | {ratios} | {f'{errors[name]:.0e}' if name in errors else ''} |")
    print("".join(f"\n{note}" for note in w.notes))
    right = {name: seconds[name] for name in gradients if errors[name] <= w.loose}
    return verdict(w, seconds, right)


def verdict(w: Workload, seconds: Seconds, right: Seconds) -> dict[str, str] | None:
    """How the fastest right native gradient stands."""
    ours, hand = fastest(right, OURS), fastest(right, HAND)
    if ours is None:
        return {"workload": w.title, "native": "no right gradient"}
    rivals = {name: ratio(seconds, ours, rival) for name in RIVALS if (rival := fastest(right, name))}
    value = fastest(seconds, f"{OURS}: value")
    numbers = {
        "workload": w.title,
        "native": ours,
        f"÷ {w.base}": _judged(ratio(seconds, ours, w.base), AIM_HAND),
        "÷ fastest by hand": _judged(ratio(seconds, ours, hand), AIM_HAND),
        "÷ value by hand": _judged(ratio(seconds, ours, f"{HAND}: value"), AIM_PRIMAL),
        "÷ native value": _judged(ratio(seconds, ours, value), AIM_PRIMAL) if value else "",
    }
    return numbers | {f"÷ {name}": _judged(r, 1.0) for name, r in rivals.items()}


def _judged(x: float, aim: float) -> str:
    return f"{x:.2f}" if x <= aim else f"**{x:.2f}**"


def summary(lines: list[dict[str, str]]) -> None:
    """One line a workload; bold is what misses its aim."""
    heads = list(dict.fromkeys(head for line in lines for head in line))
    aims = f"{AIM_HAND}× by hand, {AIM_PRIMAL}× the value, 1× JAX and Warp"
    print(f"\n### Summary: the fastest native gradient; bold misses its aim ({aims})\n")
    print(f"| {' | '.join(heads)} |\n|{'|'.join('---:' if '÷' in head else '---' for head in heads)}|")
    for line in lines:
        print(f"| {' | '.join(line.get(head, '') for head in heads)} |")


def calling(rounds: int) -> None:
    """What a call costs beyond the machine code."""
    ours = scalars.native(scalars.sincos)
    special, _ = ours.specialised((0.7,))
    function, slope = special.operation.function, special.operation.reverse.function
    plain = torch.tensor(0.7, dtype=torch.float64)
    leaf = plain.clone().requires_grad_()
    seconds = alternate(
        {
            "bare compiled function": lambda: function(0.7),
            "native, float": lambda: ours(0.7),
            "native, tensor": lambda: ours(plain),
            "native, tensor with requires_grad": lambda: ours(leaf),
            "torch eager, tensor with requires_grad": lambda: scalars.torch_sincos(leaf),
            "bare compiled value and reverse": lambda: (function(0.7), slope(0.7, 1.0)),
            "native.withgradient, float": lambda: ours.withgradient(0.7),
            "native, forward and backward": lambda: torch.autograd.grad(ours(leaf), leaf),
            "torch eager, forward and backward": lambda: torch.autograd.grad(scalars.torch_sincos(leaf), leaf),
        },
        rounds,
        spell=0.008,
    )
    print(f"\n### The cost of a call: sin(cos(x)); the aim is {AIM_CALL * 1e6:.0f} µs over the bare function\n")
    print("| call | median | quartiles | over the bare function |\n|---|---:|---:|---:|")
    base = ""
    for name, times in seconds.items():
        base = name if name.startswith("bare") else base
        low, middle, high = (micro(t) for t in statistics.quantiles(times, n=4))
        over = statistics.median(a - b for a, b in zip(times, seconds[base], strict=True))
        shown = f"{over * 1e6:.2f} µs"
        late = over > AIM_CALL and name.startswith(OURS)
        print(f"| {name} | {middle} | {low}–{high} | {f'**{shown}**' if late else shown} |")


def latency(again: int = 3) -> None:
    """The first gradient of a function of fifty lines, in new processes: once without a cache, then from it."""
    script = Path(__file__).parent / "zygote_peers" / "latency.py"
    found = []
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": f"{folder}/modules"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for cache in ("before", *["cache"] * (1 + again)):  # before that, Python compiles the modules, as pip does
            environment["TORCHFLUX_CACHE"] = f"{folder}/{cache}"
            run = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True)
            if run.returncode:
                print(f"\nThe first gradient breaks: {run.stderr.strip().splitlines()[-1][:200]}")
                return
            found.append(float(run.stdout))
    found = found[1:]
    print("\n### First gradient of a function of fifty lines, imports not counted\n")
    print("| | median | all | aim |\n|---|---:|---:|---:|")
    rows = ("empty cache", found[:1], AIM_COLD), ("from the cache, in a new process", found[1:], AIM_WARM)
    for name, seconds, aim in rows:
        middle = statistics.median(seconds)
        shown = f"{middle:.2f} s" if middle <= aim else f"**{middle:.2f} s**"
        print(f"| {name} | {shown} | {', '.join(f'{s:.2f}' for s in seconds)} | {aim} s |")


def alone(core: int | None) -> str:
    """Starts the script again with one thread in every library, on one core."""
    where = "one thread, not pinned"
    if hasattr(os, "sched_setaffinity"):
        core = min(os.sched_getaffinity(0)) if core is None else core
        os.sched_setaffinity(0, {core})
        where = f"one thread on core {core}"
    if not ONE_THREAD.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)
    torch.set_num_threads(1)
    return where


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="the workloads with this word in their title; calls, latency")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--core", type=int)
    options = parser.parse_args()
    where = alone(options.core)
    peers = [sys.modules[name] for name in ("torch", "numba", "jax", "warp") if name in sys.modules]
    versions = ", ".join(f"{peer.__name__} {peer.__version__}" for peer in peers)
    print(f"{platform.machine()}, Python {platform.python_version()}, {versions}; {where}")
    print("".join(f"\n{line}" for line in missing))
    wanted = lambda title: options.only.lower() in title.lower()
    lines = []
    for family in (projectile, bodies, heat, logistic, scalars):
        lines += [measure(w, options.rounds) for w in family.workloads() if wanted(w.title)]
    if lines:
        summary([line for line in lines if line])
        print("\nEvery comparison was first shown to refuse a gradient with one number off by a millionth.")
    if wanted("calls"):
        calling(options.rounds)
    if wanted("latency"):
        latency()


if __name__ == "__main__":
    main()
