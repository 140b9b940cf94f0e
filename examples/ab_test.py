"""Which list do people click more? Answered from noisy sums, without following anyone.

python examples/ab_test.py   (two aggregators on this machine; the people are simulated)

Each device draws its version itself, counts its own clicks, and adds a few clipped numbers to a sum
that neither aggregator can take apart. The operator reads means, with intervals that count noise.
"""

import json
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tactful import (
    Aggregators,
    Consent,
    Event,
    Experiment,
    HostKey,
    Personalizer,
)
from tactful.testing import FrozenClock, NewDeviceSettings, small_catalog
from tactful_aggregator.testing import RunningPair, running_pair
from tactful_aggregator.training.experiments import Opening

EXPERIMENT = Experiment.parse("""
{"id": "diverse", "layer": "home", "first": 0, "slots": 10000,
 "opens": 0, "closes": 4102444800, "days": 3,
 "arms": [{"name": "as it is", "share": "1/2"},
          {"name": "diverse", "share": "1/2", "diversity": 0.6}],
 "metrics": [{"name": "clicks", "counts": "click", "low": 0, "high": 6, "effect": 1}]}
""")
PEOPLE = 120


def settings(pair: RunningPair) -> NewDeviceSettings:
    """What a device may ever spend, with whom, and in how small a crowd.

    An app uses `Settings`, with which a device waits a week before it contributes.
    """
    named = pair.aggregators(EXPERIMENT.id)
    shared = Aggregators(
        model=named["model"],
        leader=named["leader"],
        helper=named["helper"],
        leader_key=named["leader_key"],
        helper_key=named["helper_key"],
    )
    return NewDeviceSettings(
        path=None, aggregators=shared, lifetime_epsilon=3.0, min_batch_size=100
    )


def live(me: Personalizer, clock: FrozenClock, chance: random.Random) -> str:
    """Three days with the app: whoever sees the diverse list clicks more, in this simulation."""
    arm = me.experiments.variant(EXPERIMENT)
    for _ in range(EXPERIMENT.days):
        for pick in me.recommend(3, balance=arm.balance, diversity=arm.diversity):
            me.observe(pick.impression())
            if chance.random() < (0.6 if arm.name == "diverse" else 0.2):
                me.observe(Event(kind="click", item_id=pick.item.id))
        me.experiments.log_exposure(EXPERIMENT)
        clock.advance(86_400_000)
    me.experiments.contribute(
        EXPERIMENT
    )  # once the days are over: charged, then sent, once
    return arm.name


def main(folder: Path) -> None:
    """Two aggregators, three days of everyone, one reading."""
    agreed = Consent.to("local_profile", "experiments", "share_dp_metrics")
    chance, drawn = random.Random(7), list[str]()
    with running_pair(folder, min_batch_floor=100) as pair:
        opening = Opening(
            experiment=EXPERIMENT, epsilon=3.0, delta=1e-6, min_batch_size=100
        )
        pair.open_experiment(opening)
        for number in range(PEOPLE):
            clock = FrozenClock(datetime.now(UTC) - timedelta(days=3, minutes=-1))
            key = HostKey(bytes([number]) * 32)
            with Personalizer(
                small_catalog(), settings(pair), key=key, consent=agreed, clock=clock
            ) as me:
                drawn.append(live(me, clock, chance))
        print(f"{drawn.count('diverse')} of {PEOPLE} devices drew the diverse list")
        print("what the operator reads, and all there is to read:")
        print(json.dumps(pair.read_experiment(EXPERIMENT.id), indent=1))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
