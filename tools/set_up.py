"""Make the environment of this checkout from a lock file. A second run finds it made and returns.

    python tools/set_up.py [--venv FOLDER]

TORCH=cpu (the default) or TORCH=cuda in the process environment chooses the lock file. Needs nothing
but Python. An older Python must still be able to read this file, so it only asks whether the
interpreter will do; the work is in environment.py.
"""

from __future__ import annotations

import importlib.util
import os
import sys

OLDEST = (3, 11)


def objection(version: tuple[int, ...], missing: list[str]) -> str | None:
    """Why an interpreter of this version, without these modules, cannot make the environment."""
    name = f"Python {version[0]}.{version[1]} ({sys.executable})"
    if version[:2] < OLDEST:
        return (
            f"torchflux needs Python {OLDEST[0]}.{OLDEST[1]} or later, and this is {name}. "
            "Name a newer one: PYTHON=python3.12 make test"
        )
    if missing:
        return (
            f"{name} cannot make a virtual environment: it comes without {' and '.join(missing)}. "
            f"On Debian and Ubuntu: apt-get install python{version[0]}.{version[1]}-venv. "
            "Or name another Python: PYTHON=/path/to/python make test"
        )
    return None


def main() -> None:
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    problem = objection(tuple(sys.version_info[:2]), missing)
    if problem:
        sys.exit(f"set-up: {problem}")
    # The lab makes environments from lock files; nothing is installed yet, so it comes from its source.
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "packages", "lab", "src"))
    import environment

    environment.main()


if __name__ == "__main__":
    main()
