"""A file from a network: it takes its place when it is whole and checked, or not at all."""

import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

__all__: list[str] = []


def fetched(url: str, file: Path, check: Callable[[Path], None]) -> None:
    """Fetches into a file beside its place, lets `check` refuse it by raising, and puts it there."""
    temporary = file.with_name(f".{file.name}.{os.urandom(8).hex()}")
    try:
        with urllib.request.urlopen(url) as answer, open(temporary, "xb") as target:
            while block := answer.read(1 << 20):
                target.write(block)
        check(temporary)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
