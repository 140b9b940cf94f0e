"""An experiment end to end: drawn on devices, counted there, added up by the pair, read once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tactful.device.events import Event
from tactful.errors import ConsentMissing, TactfulError
from tactful.protocol.documents.experiment import SLOTS, Arm, Experiment, Metric
from tactful.testing import LOCAL, FrozenClock
from tactful_aggregator.training.experiments import Opening

JOINED = LOCAL.grant("experiments", "share_dp_metrics")
DAY_MS = 86_400_000
PEOPLE = 40


@pytest.fixture
def trial(town) -> Experiment:
    """Half of the people get a version; what counts is clicks in three days."""
    return Experiment(
        id=town.model,
        layer="ranking",
        first=0,
        slots=SLOTS,
        opens=0,
        closes=1 << 40,
        days=3,
        arms=(Arm(name="control", share="1/2"), Arm(name="varied", share="1/2")),
        metrics=(
            Metric(name="clicks", counts="click", low=0, high=8, effect=2, may_fall=6),
        ),
    )


def live(town, trial: Experiment, number: int, wire):
    """A device that saw its version, clicked (more in the version), and was measured."""
    clock = FrozenClock(datetime.now(UTC) - timedelta(days=4, minutes=-1))
    device = town.device(number, consent=JOINED, transport=wire(), clock=clock)
    arm = device.experiments.variant(trial)
    device.experiments.log_exposure(trial)
    for step in range(6 if arm.name == "varied" else 2):
        device.observe(Event(kind="click", item_id=f"item-{step}"))
    clock.advance(4 * DAY_MS)
    return device


def opening(trial: Experiment, **changes: object) -> Opening:
    """So few people need an epsilon that hides little."""
    chosen = Opening(experiment=trial, epsilon=1000.0, delta=1e-6, min_batch_size=4)
    return replace(chosen, **changes)


def test_what_devices_count_is_what_the_operator_reads(town, trial, wire) -> None:
    town.pair.open_experiment(opening(trial))
    devices = [live(town, trial, number, wire) for number in range(PEOPLE)]
    arms = [device.experiments.variant(trial).name for device in devices]
    for device in devices:
        assert device.experiments.contribute(trial) is not None
        assert device.experiments.contribute(trial).repeated

    read = town.pair.read_experiment(trial.id)
    again = town.pair.read_experiment(trial.id)

    assert read == again
    assert read["people"] == PEOPLE
    assert abs(read["arms"]["varied"] - arms.count("varied")) < 3
    reading = read["readings"][0]
    assert abs(reading["difference"] - 4) < 2
    assert reading["guardrail"] == "held"


def test_nobody_is_counted_twice_however_many_periods_open(town, trial, wire) -> None:
    town.pair.open_experiment(opening(trial))
    devices = [live(town, trial, number, wire) for number in range(24)]
    for device in devices:
        device.experiments.contribute(trial)
    town.pair.read_experiment(trial.id)
    town.pair.open_experiment(opening(trial))

    spent = [device.status.ledger.spent for device in devices]
    assert [device.experiments.contribute(trial) for device in devices] == [None] * 24
    assert [device.status.ledger.spent for device in devices] == spent


def test_who_does_not_take_part_gets_the_control_and_sends_nothing(
    town, trial, wire
) -> None:
    seen = wire()
    with town.device(consent=LOCAL, transport=seen) as device:
        assert device.experiments.variant(trial).name == "control"
        device.experiments.log_exposure(trial)
        with pytest.raises(ConsentMissing, match="experiments"):
            device.experiments.contribute(trial)
        assert "assignment" not in str(device.rights.export())
    assert not seen.requests


def test_before_it_was_measured_a_device_sends_nothing(town, trial, wire) -> None:
    seen = wire()
    with town.device(consent=JOINED, transport=seen) as device:
        device.experiments.variant(trial)
        device.experiments.log_exposure(trial)
        assert device.experiments.contribute(trial) is None
    assert not seen.requests


def test_an_unknown_or_open_experiment_is_named(town, trial) -> None:
    with pytest.raises(TactfulError, match="unknown"):
        town.pair.read_experiment("nothing")
    town.pair.open_experiment(opening(trial))
    with pytest.raises(TactfulError, match="has an open period"):
        town.pair.open_experiment(opening(trial))
    with pytest.raises(TactfulError, match="at least 4"):
        town.pair.read_experiment(trial.id)


def test_too_little_noise_for_the_claim_cannot_be_opened(town, trial) -> None:
    with pytest.raises(TactfulError, match="floor"):
        town.pair.open_experiment(opening(trial, min_batch_size=3))
