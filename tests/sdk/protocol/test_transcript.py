"""What a pair published stays what it was: no entry changes, moves or goes unseen."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.errors import ProtocolError
from tactful.protocol import transcript
from tactful.protocol.transcript import GENESIS, Entry

documents = st.lists(
    st.tuples(st.sampled_from(["task", "release"]), st.binary(max_size=20)), min_size=1, max_size=6
)


def written(documents: list[tuple[str, bytes]]) -> list[Entry]:
    entries: list[Entry] = []
    for time, (kind, document) in enumerate(documents):
        last = entries[-1] if entries else None
        entries.append(transcript.follow(last, kind, document, time))
    return entries


FOUR = written([("task", b"a"), ("task", b"b"), ("task", b"c"), ("release", b"d")])


@given(documents=documents)
@settings(max_examples=50)
def test_what_follows_is_verified_and_comes_back(documents: list[tuple[str, bytes]]) -> None:
    entries = written(documents)

    transcript.verify(entries)
    assert [transcript.parse(entry.encode()) for entry in entries] == entries


def test_the_first_entry_follows_nothing() -> None:
    assert (FOUR[0].index, FOUR[0].previous) == (0, GENESIS)


def test_an_empty_transcript_is_verified() -> None:
    transcript.verify([])


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    "change", [{"kind": "release"}, {"sha256": "0" * 64}, {"time": 99}, {"index": 9}]
)
def test_an_entry_changed_afterwards_is_found(place: int, change: dict[str, object]) -> None:
    changed = [*FOUR[:place], replace(FOUR[place], **change), *FOUR[place + 1 :]]

    with pytest.raises(ProtocolError, match=rf"entry ({place}|{place + 1}) "):
        transcript.verify(changed)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_entry_left_out_is_found(place: int) -> None:
    with pytest.raises(ProtocolError, match=f"entry {place} "):
        transcript.verify(FOUR[:place] + FOUR[place + 1 :])


def test_entries_in_another_order_are_found() -> None:
    with pytest.raises(ProtocolError, match="entry 1 "):
        transcript.verify([FOUR[0], FOUR[2], FOUR[1], FOUR[3]])


@given(line=st.text(max_size=60))
@settings(max_examples=50)
def test_a_line_that_is_no_entry_is_refused(line: str) -> None:
    with pytest.raises(ProtocolError, match="not an entry"):
        transcript.parse(line)


def test_an_entry_with_a_field_too_many_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not an entry"):
        transcript.parse(FOUR[0].encode()[:-1] + ',"colour":"red"}')
