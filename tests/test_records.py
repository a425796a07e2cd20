"""The records in lockfiles/: each is whole and says what its commit has, and the quickest is reproduced in full."""

import re
from pathlib import Path

import pytest

import workspace
from torchflux_lab._agreement import DIFFERENT
from torchflux_lab._environment import NotOffered
from torchflux_lab._git import holds
from torchflux_lab._project import Project
from torchflux_lab._record import Record, read_record
from torchflux_lab._reproduce import reproduce
from torchflux_lab._verify import at_commit, on_this_machine

PROJECT = Project(workspace.ROOT)
RECORDS = {path.stem: path for path in sorted((workspace.ROOT / "lockfiles").glob("*.toml"))}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_whole_and_clean(name: str) -> None:
    record = read_record(RECORDS[name])
    assert record.edited == []
    assert record.run["changed"] == []
    assert record.results


@pytest.mark.parametrize("name", RECORDS)
def test_its_commit_has_what_it_says(name: str) -> None:
    record = read_record(RECORDS[name])
    if not holds(PROJECT.root, record.run["commit"]):
        pytest.skip("the recorded commit is not in this clone")
    assert at_commit(record, PROJECT) == []


@pytest.mark.parametrize("name", RECORDS)
def test_it_names_no_path_and_no_address(name: str) -> None:
    text = RECORDS[name].read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r'["\s](/|[A-Za-z]:\\)', text)
    assert not re.search(r"\b[\w-]+\.(org|com|net|io|dev)\b", text)


def test_the_quickest_is_reproduced_in_full(tmp_path: Path) -> None:
    """In a fresh environment, from the lock file that was recorded. Takes a minute, most of it pip's."""
    alone = [record for record in map(read_record, RECORDS.values()) if "processes" not in record.run]
    records = sorted(alone, key=lambda record: float(record.run["seconds"]))
    at_hand = [record for record in records if code_is_at_hand(record)]
    if not at_hand:
        pytest.skip("there is no record, or the code of none is in this clone")
    try:
        done = reproduce(at_hand[0], PROJECT, tmp_path, print)
    except NotOffered as error:
        pytest.skip(f"pip has no packages here: {error}")
    assert [each for each in done.differences if each.matters] == []
    assert [each for each in done.results if each.verdict == DIFFERENT] == []


def code_is_at_hand(record: Record) -> bool:
    """Whether its commit is in this clone, or its files lie here as they were."""
    here = on_this_machine(record, PROJECT)
    return holds(PROJECT.root, record.run["commit"]) or not any(d.table in ("code", "data", "lock") for d in here)
