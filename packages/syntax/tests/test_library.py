"""Functions that others wrote, of all kinds: those of the standard library are read, and do what they did."""

import importlib
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from torchflux_syntax import Unsupported, deviation, load, read, structure

MODULES = ["textwrap", "fractions", "string", "shlex", "argparse", "configparser", "html.parser", "ipaddress"]

MADE = {"__annotate__"}
"""What Python 3.14 adds to a class; it has no source."""


def functions(module):
    classes = [module, *(value for value in vars(module).values() if inspect.isclass(value))]
    for owner in classes:
        for value in vars(owner).values():
            f = getattr(value, "__func__", value)
            if inspect.isfunction(f) and f.__module__ == module.__name__ and f.__name__ not in MADE:
                yield f


@pytest.mark.parametrize("name", MODULES)
def test_every_function_is_read_or_refused(name):
    done, refused = [], set()
    for f in functions(importlib.import_module(name)):
        try:
            function = read(f)
        except Unsupported as refusal:
            refused.add(refusal.construct)
            continue
        structured = structure(function)
        assert deviation(function) is None
        assert deviation(structured, structured=True) is None
        done += [load(function), load(structured)]
    assert len(done) > 10
    assert refused <= {"`locals` of the names in a function"}


@pytest.mark.skipif(not importlib.util.find_spec("test"), reason="this Python comes without its own tests")
@pytest.mark.parametrize("name", ["fractions", "textwrap", "shlex", "configparser", "ipaddress"])
def test_the_tests_of_cpython_pass(name):
    program = Path(__file__).with_name("library_again.py")
    ran = subprocess.run([sys.executable, str(program), name], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
