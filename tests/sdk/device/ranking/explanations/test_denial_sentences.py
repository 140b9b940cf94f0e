"""What holds an item back is said in plain words, in the reader's language."""

import locale
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.device.caps import Denial
from tactful.device.ranking.explanations.denial_sentences import (
    DENIAL_TEXTS,
    MONTHS,
    WEEKDAYS,
    denial_sentence,
    format_moment,
)

FRIDAY = datetime(2026, 12, 25, 15, 9, tzinfo=UTC)
WORN = Denial(
    "aja", "WORN", window="decay", used=1.5, limit=2.25, next_allowed_at=FRIDAY
)


def test_wear_is_told_as_rest_and_not_as_a_number_of_times() -> None:
    assert denial_sentence(WORN) == (
        "You have seen it often lately; it rests until Friday, 25 December, 15:09 UTC."
    )
    assert denial_sentence(WORN, "de") == (
        "Du hast es in letzter Zeit oft gesehen; es ruht bis Freitag, 25. Dezember, 15:09 Uhr UTC."
    )
    assert (
        denial_sentence(replace(WORN, next_allowed_at=None))
        == "You have seen it often lately."
    )


@pytest.mark.parametrize("window", ["decay", "sliding"])
def test_what_is_held_back_after_a_restore_says_so_and_counts_no_shows(
    window: str,
) -> None:
    held = replace(WORN, window=window, used=2.0, limit=2.0, restored=True)

    assert denial_sentence(held) == (
        "Data of this app was lost or put back from a backup, so that it is shown less often for "
        "now. It can return on Friday, 25 December, 15:09 UTC."
    )
    assert denial_sentence(replace(held, next_allowed_at=None), "de") == (
        "Daten dieser App gingen verloren oder kamen aus einer Sicherung zurück, "
        "deshalb wird es vorerst seltener gezeigt."
    )


def test_a_count_is_told_with_its_limit_and_who_set_it() -> None:
    counted = replace(WORN, window="sliding", used=2.0, limit=1.0, author="user")

    assert denial_sentence(counted) == (
        "You have seen it 2 times lately; more than once is too much. You set this limit. "
        "It can return on Friday, 25 December, 15:09 UTC."
    )


@given(when=st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))
def test_weekdays_and_months_are_those_of_the_calendar(when: datetime) -> None:
    assert f"{when:%A, %-d %B, %H:%M}" in format_moment(when, "en")


def test_names_do_not_follow_the_locale_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    try:
        before = locale.setlocale(locale.LC_TIME)
        locale.setlocale(locale.LC_TIME, "de_DE.UTF-8")
    except locale.Error:
        monkeypatch.setenv("LC_TIME", "de_DE.UTF-8")
        before = None
    try:
        assert format_moment(FRIDAY, "en") == "Friday, 25 December, 15:09 UTC"
    finally:
        if before is not None:
            locale.setlocale(locale.LC_TIME, before)


def test_both_languages_say_everything() -> None:
    assert set(DENIAL_TEXTS["en"]) == set(DENIAL_TEXTS["de"])
    assert [len(WEEKDAYS[one]) for one in DENIAL_TEXTS] == [7, 7]
    assert [len(MONTHS[one]) for one in DENIAL_TEXTS] == [12, 12]
