"""Records as text: what is written is what Python's own reader reads."""

import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from torchflux_lab._toml import to_toml

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=30) | st.dictionaries(texts, inner), max_leaves=20
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.dictionaries(texts, values))
def test_what_is_written_is_read(table: dict[str, Any]) -> None:
    text = to_toml({"table": table}, {"table": "A comment that is rather long. " * 8})
    assert tomllib.loads(text) == {"table": table}
    read = tomllib.loads(text)["table"]
    assert list(read) == list(table)
    assert to_toml({"table": read}, {}) == to_toml({"table": table}, {})


def test_long_lists_are_broken_and_none_is_a_word() -> None:
    text = to_toml({"results": {"losses": [0.1] * 100, "limit": None, "pairs": [[1.0, 2.0]] * 30}}, {})
    assert max(map(len, text.splitlines())) <= 120
    assert tomllib.loads(text)["results"] == {"losses": [0.1] * 100, "limit": "none", "pairs": [[1.0, 2.0]] * 30}
