"""The README's examples give what it says."""

import doctest
from pathlib import Path


def test_the_examples():
    results = doctest.testfile(str(Path(__file__).parents[1] / "README.md"), module_relative=False)
    assert results.attempted > 10
    assert results.failed == 0
