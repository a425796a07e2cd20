"""Compiled code is kept between runs of the tests, apart from the user's own."""

import getpass
import os
import sys
import tempfile
from pathlib import Path

folder = os.environ.setdefault(
    "TORCHFLUX_CACHE", str(Path(tempfile.gettempdir()) / f"torchflux-tests-{getpass.getuser()}")
)
sys.path.insert(0, str(Path(__file__).parent))  # check.py and programs.py, which the tests share
