"""Timing side by side: peers take turns inside one process, so that a slow moment of the machine hits all of them."""

import statistics
import time
from collections.abc import Callable


def alternate(peers: dict[str, Callable[[], object]], rounds: int = 25, spell: float = 0.02) -> dict[str, list[float]]:
    """Seconds per call of each peer, one number a round; a round gives each peer `spell` seconds in turn."""
    calls = {name: _calls_in(peer, spell) for name, peer in peers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds):
        for name, peer in peers.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                peer()
            seconds[name].append((time.perf_counter() - start) / calls[name])
    return seconds


def _calls_in(peer: Callable[[], object], spell: float) -> int:
    """How many calls fill a spell, after a warm-up (of one call, where a call is slow)."""
    start = time.perf_counter()
    peer()
    slow = time.perf_counter() - start > spell
    for _ in range(0 if slow else 20):
        peer()
    times = 1 if slow else 5
    start = time.perf_counter()
    for _ in range(times):
        peer()
    return max(1, int(times * spell / (time.perf_counter() - start)))


def table(title: str, seconds: dict[str, list[float]], *bases: str) -> None:
    """Prints medians with quartiles, and the median over the rounds of each peer's ratio to the `bases`."""
    ratios = "".join(f" ratio to {base} |" for base in bases)
    print(f"\n### {title}\n\n| peer | median | quartiles |{ratios}\n|---|---:|---:|{'---:|' * len(bases)}")
    for name, times in seconds.items():
        low, middle, high = statistics.quantiles(times, n=4)
        columns = "".join(f" {_ratio(times, seconds[base]):.3g} |" for base in bases)
        print(f"| {name} | {micro(middle)} | {micro(low)}–{micro(high)} |{columns}")


def _ratio(times: list[float], others: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(times, others, strict=True))


def micro(seconds: float) -> str:
    """A time in microseconds, as text."""
    return f"{seconds * 1e6:,.1f} µs"
