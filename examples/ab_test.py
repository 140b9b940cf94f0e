"""A private A/B test: which of two lists gets more clicks, from noisy sums only.

python examples/ab_test.py   (two aggregators on this machine, simulated people)

Each device draws its own variant, counts its own clicks and adds a few clipped numbers
to a sum. Neither aggregator sees the numbers of one device. The operator reads means,
with confidence intervals that include the noise.
"""

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

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
    """Return the settings of a device: aggregators, lifetime cap and batch size.

    An app uses `Settings`, with which a device waits a week before it contributes.
    """
    fields = pair.aggregators(EXPERIMENT.id)
    aggregators = Aggregators(
        model=fields["model"],
        leader=fields["leader"],
        helper=fields["helper"],
        leader_key=fields["leader_key"],
        helper_key=fields["helper_key"],
    )
    return NewDeviceSettings(
        path=None, aggregators=aggregators, lifetime_epsilon=3.0, min_batch_size=100
    )


def simulate_days(me: Personalizer, clock: FrozenClock, random: Random) -> str:
    """Simulate the days of one person and contribute; return the variant.

    In this simulation, people with the diverse list click more often.
    """
    arm = me.experiments.variant(EXPERIMENT)
    click_rate = 0.6 if arm.name == "diverse" else 0.2
    for _ in range(EXPERIMENT.days):
        for pick in me.recommend(3, balance=arm.balance, diversity=arm.diversity):
            me.observe(pick.impression())
            if random.random() < click_rate:
                me.observe(Event(kind="click", item_id=pick.item.id))
        me.experiments.log_exposure(EXPERIMENT)
        clock.advance(86_400_000)
    # After the last day, the device charges its ledger and sends one report.
    me.experiments.contribute(EXPERIMENT)
    return arm.name


def main(folder: Path) -> None:
    """Run the experiment with two aggregators and print its result."""
    consent = Consent.to("local_profile", "experiments", "share_dp_metrics")
    random, variants = Random(7), list[str]()
    with running_pair(folder, min_batch_floor=100) as pair:
        opening = Opening(
            experiment=EXPERIMENT, epsilon=3.0, delta=1e-6, min_batch_size=100
        )
        pair.open_experiment(opening)
        for number in range(PEOPLE):
            clock = FrozenClock(datetime.now(UTC) - timedelta(days=3, minutes=-1))
            key = HostKey(bytes([number]) * 32)
            with Personalizer(
                small_catalog(), settings(pair), key=key, consent=consent, clock=clock
            ) as me:
                variants.append(simulate_days(me, clock, random))
        print(f"{variants.count('diverse')} of {PEOPLE} devices drew the diverse list")
        print("all that the operator can read:")
        print(json.dumps(pair.read_experiment(EXPERIMENT.id), indent=1))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
