"""The README's table of models says what is."""

from model_table import README, split, table


def test_the_table_is_true():
    assert split(README.read_text())[1] == table(), "run python metalhead/tests/model_table.py"
