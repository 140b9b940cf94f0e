"""Killed between any two statements: what was seen stays counted, and no reservation stays."""

from pathlib import Path

import pytest
from cap_crash import every_statement

from tactful.device.caps.session import CapSession


def test_after_a_kill_at_any_statement_what_was_seen_is_counted(tmp_path: Path):
    found = list(every_statement(tmp_path))

    assert len(found) > 20
    assert not [crime for crimes in found for crime in crimes]


def test_if_a_killed_process_were_taken_for_alive_shows_would_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(CapSession, "_outcome", lambda *_: "dropped")

    assert [crime for crimes in every_statement(tmp_path) for crime in crimes]
