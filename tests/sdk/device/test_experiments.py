"""Arms are drawn on the device, once, and what counts is clipped before anything is made of it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.device import experiments
from tactful.device.events import StoredEvent
from tactful.device.state.removal import forget
from tactful.device.vault import Vault
from tactful.errors import InvalidInput
from tactful.protocol.documents.experiment import (
    SLOTS,
    Arm,
    Experiment,
    Metric,
    require_apart,
)
from tactful.testing import FIXED_KEY

CLICKS = Metric(name="clicks", counts="click", low=0, high=10, effect=1)
TRIAL = Experiment(
    id="variety",
    layer="ranking",
    first=0,
    slots=SLOTS,
    opens=1000,
    closes=9000,
    days=7,
    arms=(
        Arm(name="control", share="1/3"),
        Arm(name="varied", share="2/3", diversity=0.6),
    ),
    metrics=(CLICKS,),
)
units = st.binary(min_size=16, max_size=16)


@pytest.fixture
def vault():
    with Vault.open(None, FIXED_KEY) as opened:
        yield opened


def test_slots_are_those_of_the_published_vectors(root) -> None:
    vectors = json.loads((root / "tests/vectors/experiment-slots.json").read_text())

    found = [
        [unit, name, experiments.slot(bytes.fromhex(unit), name)]
        for unit, name, _ in vectors["rows"]
    ]
    assert found == vectors["rows"]
    assert len({place for *_, place in found}) == len(found)


@given(units)
def test_arms_get_their_shares_of_units(unit: bytes) -> None:
    """Each unit falls on one side of the same line."""
    drawn = experiments.slot(unit, "experiment variety", experiments.ARM_SLOTS)
    arm = experiments.arm_of(unit, TRIAL)

    assert arm.name == ("control" if drawn * 3 < experiments.ARM_SLOTS else "varied")


def test_a_third_is_a_third() -> None:
    arms = [experiments.arm_of(n.to_bytes(16, "big"), TRIAL).name for n in range(6000)]

    assert abs(arms.count("control") - 2000) < 5 * (6000 * 2 / 9) ** 0.5


@given(units)
def test_two_experiments_of_a_layer_never_share_a_person(unit: bytes) -> None:
    one, other = (
        replace(TRIAL, slots=4000),
        replace(TRIAL, id="other", first=4000, slots=6000),
    )

    require_apart([one, other])
    assert (experiments.arm_of(unit, one) is None) != (
        experiments.arm_of(unit, other) is None
    )


def test_slots_taken_twice_are_refused() -> None:
    with pytest.raises(InvalidInput, match="variety and other share slots"):
        require_apart(
            [
                replace(TRIAL, slots=4000),
                replace(TRIAL, id="other", first=3999, slots=1),
            ]
        )
    require_apart([TRIAL, replace(TRIAL, id="other", layer="texts")])


def test_an_arm_stays_whatever_becomes_of_the_shares(vault: Vault) -> None:
    first = experiments.assign(vault, TRIAL, now=2000).name
    swapped = replace(
        TRIAL, arms=tuple(replace(arm, share="1/2") for arm in TRIAL.arms[::-1])
    )

    assert experiments.assign(vault, swapped, now=3000).name == first
    assert experiments.assign(vault, replace(TRIAL, slots=1), now=20_000).name == first


@pytest.mark.parametrize("now", [999, 9000])
def test_nobody_joins_before_it_opens_or_after_it_closes(
    vault: Vault, now: int
) -> None:
    assert experiments.assign(vault, TRIAL, now=now) is None


def test_after_an_erasure_a_device_stays_out_of_what_was_running(vault: Vault) -> None:
    experiments.assign(vault, TRIAL, now=2000)
    unit = experiments.participation(vault, 2000).unit
    forget(vault)

    assert experiments.participation(vault, 2500).unit != unit
    assert experiments.assign(vault, TRIAL, now=3000) is None
    later = replace(TRIAL, id="later", opens=4000)
    assert experiments.assign(vault, later, now=4000) is not None


def test_a_version_seen_often_in_a_day_is_one_exposure(vault: Vault) -> None:
    for day in (20, 20, 20, 21):
        experiments.log_exposure(vault, TRIAL, day)

    assert len(list(vault.read(0, ["exposure"]))) == 2
    here = experiments.participation(vault, 2000)
    assert experiments.window(here, TRIAL, 26) is None
    assert experiments.window(here, TRIAL, 27) == (20, 27)


def event(kind: str, day: int, item_id: str = "a") -> StoredEvent:
    return StoredEvent(kind=kind, at_ms=day * 86_400_000, purpose="local_profile", day=day,
                       item_id=item_id)  # fmt: skip


@given(
    st.lists(
        st.tuples(st.sampled_from(["click", "like"]), st.integers(0, 40)), max_size=60
    )
)
def test_a_metric_counts_its_window_and_the_one_before_and_is_clipped(told) -> None:
    told = sorted(told, key=lambda pair: pair[1])
    during, before = experiments.metric_values(
        [event(*one) for one in told], TRIAL, (20, 27)
    )

    clicks = [day for kind, day in told if kind == "click"]
    assert during[0] == min(sum(20 <= day < 27 for day in clicks), 10) / 10
    assert before[0] == min(sum(13 <= day < 20 for day in clicks), 10) / 10


def test_a_repeat_is_a_show_of_what_was_shown_in_the_last_seven_days() -> None:
    repeats = replace(TRIAL, days=20, metrics=(replace(CLICKS, counts="repeat"),))
    shows = [("a", 20), ("a", 21), ("b", 21), ("a", 27), ("a", 34), ("b", 28)]

    told = [
        event("impression", day, item)
        for item, day in sorted(shows, key=lambda one: one[1])
    ]
    assert experiments.metric_values(told, repeats, (20, 40))[0][0] == 2 / 10


WRONG = {
    "arms": {"arms": [{"name": "a", "share": "1/2"}, {"name": "b", "share": "1/3"}]},
    "metrics": {"metrics": []},
    "metric.high": {
        "metrics": [{"name": "m", "counts": "click", "low": 1, "high": 1, "effect": 1}]
    },
    "metric.effect": {
        "metrics": [{"name": "m", "counts": "click", "low": 0, "high": 1, "effect": 2}]
    },
    "arm.share": {
        "arms": [{"name": "a", "share": "half"}, {"name": "b", "share": "1/2"}]
    },
    "arm.balance": {
        "arms": [
            {"name": "a", "share": "1/2", "balance": 2},
            {"name": "b", "share": "1/2"},
        ]
    },
    "slots": {"first": 9999, "slots": 2},
    "closes": {"closes": 1000},
    "days": {"days": 0},
    "id": {"id": "Big Test"},
    "metrics.0.high": {
        "metrics": [{"name": "m", "counts": "click", "low": 0, "effect": 1}]
    },
    "extra": {"extra": 1},
}


@pytest.mark.parametrize(("field", "changes"), WRONG.items(), ids=WRONG)
def test_an_experiment_that_cannot_be_is_named(
    field: str, changes: dict[str, object]
) -> None:
    document = {**json.loads(TRIAL.document), **changes}

    with pytest.raises(InvalidInput, match=field.replace(".", r"\.")):
        Experiment.parse(json.dumps(document))


def test_an_experiment_reads_back_as_it_was_written() -> None:
    assert Experiment.parse(TRIAL.document) == TRIAL
