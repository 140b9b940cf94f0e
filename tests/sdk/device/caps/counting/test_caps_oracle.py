"""Engine and oracle agree on 20,000 random lives, with clocks, zones and rules that change."""

import pytest
from cap_schedules import HOUR, live

from tactful.device.caps import session
from tactful.device.caps.counting import checkpoint
from tactful.device.caps.counting.rule_counters import KeyCounter, RuleCounters
from tactful.device.caps.deciding import decide
from tactful.device.caps.deciding.decision_cache import DecisionCache
from tactful.device.caps.rules.subject import Key

PARTS, LIVES = 20, 1000


def lives(first: int, count: int) -> None:
    for seed in range(first, first + count):
        live(seed)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_engine_answers_as_the_slow_recount_does(
    part: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        decide, "CACHE_AFTER_DENIALS", part % 3 - 1
    )  # the table answers always, soon, late

    lives(part * LIVES, LIVES)


def test_it_does_when_it_starts_from_a_checkpoint_each_time(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(session, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(checkpoint, "LATE_MS", HOUR)

    lives(1_000_000, LIVES)


def test_if_a_checkpoint_forgot_what_was_counted_it_would_not(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(session, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(checkpoint, "_restore_counters", lambda *_: None)

    with pytest.raises(AssertionError):
        lives(0, 200)


def test_if_verdicts_outlived_the_facts_it_would_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decide, "CACHE_AFTER_DENIALS", -1)
    monkeypatch.setattr(DecisionCache, "_entries_of_changed_keys", lambda *_: iter(()))

    with pytest.raises(AssertionError):
        lives(0, 2000)


def test_nor_if_what_was_shown_passed_for_a_stranger(monkeypatch: pytest.MonkeyPatch):
    honest = RuleCounters.counter_to_change

    def forgetful(counters: RuleCounters, key: Key) -> KeyCounter:
        key_counter = honest(counters, key)
        counters.counted_keys.discard(key)
        return key_counter

    monkeypatch.setattr(RuleCounters, "counter_to_change", forgetful)

    with pytest.raises(AssertionError):
        lives(0, 2000)


def test_nor_if_what_is_counted_at_most_were_too_little(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(RuleCounters, "upper_bound", lambda *_: 0)

    with pytest.raises(AssertionError):
        lives(0, 200)
