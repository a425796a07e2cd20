"""Runs the tests that CPython has for a module, with the module's functions read, structured and loaded again.

It is a program of its own, as it changes the module: `python library_again.py fractions`.
"""

import importlib
import inspect
import sys
import unittest

from torchflux_syntax import Unsupported, load, read, structure


def functions(module):
    """The functions and methods of a module."""
    classes = [value for value in vars(module).values() if inspect.isclass(value)]
    for owner in [module, *classes]:
        for value in vars(owner).values():
            parts = [value.fget, value.fset] if isinstance(value, property) else [getattr(value, "__func__", value)]
            yield from (f for f in parts if inspect.isfunction(f) and f.__module__ == module.__name__)


def replace(module) -> int:
    """Gives each function that can be read the code of its structured form; says how many."""
    count = 0
    for f in set(functions(module)):
        try:
            code = load(structure(read(f))).__code__
        except Unsupported:
            continue
        if code.co_freevars == f.__code__.co_freevars:
            f.__code__ = code
            count += 1
    return count


def main(name: str) -> bool:
    tests = unittest.defaultTestLoader.loadTestsFromName(f"test.test_{name.replace('.', '')}")
    print(f"{name}: {replace(importlib.import_module(name))} functions, {tests.countTestCases()} tests")
    return unittest.TextTestRunner(verbosity=0, buffer=True).run(tests).wasSuccessful()


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1]))
