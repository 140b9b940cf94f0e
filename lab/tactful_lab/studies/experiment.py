"""An experiment on real people's purchases: personal or diverse lists, with and without caps.

Everyone is drawn, exposed and measured by the code of the device, once a day for a week, and adds
one noisy report in a period of their own. The operator reads after each period, as often as it
likes. A click is a simulated one: on an item that the person bought and the device did not know.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tactful.device import experiments
from tactful.device.catalog import Catalog, Item
from tactful.device.clock import MS_PER_DAY, ManualClock
from tactful.device.events import Event
from tactful.device.list_policy import ListPolicy
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Settings
from tactful.errors import InvalidInput
from tactful.learning.experiment_statistics import Sums, width
from tactful.learning.model import Model
from tactful.privacy.accountant import mu_for, sigma2_for
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.protocol.documents.experiment import SLOTS, Arm, Experiment, Metric
from tactful.protocol.vector_encoding import Encoding
from tactful.testing import FIXED_KEY, LOCAL
from tactful_aggregator.training.experiments import Result, result_of
from tactful_lab.data_sets import loading
from tactful_lab.plots import readings
from tactful_lab.ranking_metrics import TEST_SEED, hold_out
from tactful_lab.simulation.population import BOX, LEVELS, Population

DAYS, LENGTH, DELTA = 7, 10, 1e-6
UNCAPPED: dict[str, object] = {"schema": 1, "rules": []}
CAPPED = ("personal, capped", "diverse, capped")  # the default caps of a device
TRIAL = Experiment(
    id="variety",
    layer="ranking",
    first=0,
    slots=SLOTS,
    opens=0,
    closes=1 << 40,
    days=DAYS,
    arms=(
        Arm(name="personal", share="1/4", diversity=0.0),
        Arm(name="diverse", share="1/4", diversity=0.6),
        Arm(name=CAPPED[0], share="1/4", diversity=0.0),
        Arm(name=CAPPED[1], share="1/4", diversity=0.6),
    ),
    metrics=(
        Metric(name="clicks", counts="click", low=0, high=10, effect=1, may_fall=1),
        Metric(name="repeats", counts="repeat", low=0, high=70, effect=20),
    ),
)


@dataclass(frozen=True)
class Person:
    """Who takes part: what the device was told, and what they bought besides."""

    known: tuple[str, ...]
    hidden: frozenset[str]


@dataclass(frozen=True)
class World:
    """What all devices have in common."""

    catalog: Catalog
    model: Model


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab experiment`."""
    told = "four versions of a list compared on real data, with the noise counted"
    parser = subparsers.add_parser("experiment", help=told, description=told)
    parser.add_argument(
        "--epsilon", type=float, default=3.0, help="default %(default)s"
    )
    parser.add_argument("--people", type=int, default=640, help="default %(default)s")
    parser.add_argument(
        "--periods", type=int, default=4, help="looks, default %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/experiment"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab experiment` does."""
    mu_for(options.epsilon, DELTA)  # raises InvalidInput naming epsilon
    if not 1 <= options.periods <= options.people:
        raise InvalidInput(
            "--periods", f"{options.periods} is out of range", "use 1 to --people"
        )
    looks = experiment(options.people, options.periods, options.epsilon, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "experiment.svg").write_text(_plot(looks))
    document = json.dumps([asdict(look) for look in looks], indent=1)
    (options.out / "experiment.json").write_text(document + "\n")
    print(_table(looks[-1]))
    print(f"plot: {options.out / 'experiment.svg'}")
    return 0


def experiment(people: int, periods: int, epsilon: float, seed: int) -> list[Result]:
    """What the operator reads after each period, once the noise leaves something to read."""
    world, crowd = _world(people, seed)
    with ProcessPoolExecutor() as pool:
        vectors = np.array(
            list(pool.map(partial(live, world), range(len(crowd)), crowd))
        )
    generator = np.random.default_rng(seed)
    sums = [
        _released(part, epsilon, generator) for part in np.array_split(vectors, periods)
    ]
    totals = [sums[0]]
    for one in sums[1:]:
        totals.append(totals[-1] + one)
    *early, last = totals
    read = [look for look in map(partial(_read, epsilon), early) if look is not None]
    return [*read, result_of(TRIAL, last, epsilon, DELTA)]


def live(world: World, number: int, person: Person) -> NDArray[np.float64]:
    """One person's week, and what their device adds to the sums."""
    unit = number.to_bytes(16, "big")
    arm = experiments.arm_of(unit, TRIAL) or TRIAL.arms[0]
    capped = arm.name in CAPPED
    settings = Settings(
        path=None,
        caps=None if capped else UNCAPPED,
        diversity=arm.diversity or 0.0,
        list_policy=ListPolicy() if capped else ListPolicy(fatigue=0.0),
    )
    clock = ManualClock()
    with Personalizer(
        world.catalog,
        settings,
        key=FIXED_KEY,
        consent=LOCAL,
        clock=clock,
        model=world.model,
    ) as device:
        for item_id in person.known:
            device.observe(Event(kind="purchase", item_id=item_id))
        first = clock.reading().wall_ms // MS_PER_DAY
        for _ in range(DAYS):
            _visit(device, person)
            clock.advance(MS_PER_DAY)
        here = experiments.Participation(
            unit, 0, {TRIAL.id: arm.name}, {TRIAL.id: first}
        )
        added = experiments.measure(device.rights.events(), TRIAL, here, first + DAYS)
    return (
        np.zeros(len(TRIAL.arms) * width(len(TRIAL.metrics)))
        if added is None
        else added
    )


def _visit(device: Personalizer, person: Person) -> None:
    for pick in device.recommend(LENGTH):
        device.observe(pick.impression())
        if pick.item.id in person.hidden:
            device.observe(Event(kind="click", item_id=pick.item.id))


def _read(epsilon: float, sums: Sums) -> Result | None:
    try:
        return result_of(TRIAL, sums, epsilon, DELTA)
    except InvalidInput:
        return None  # too few people yet


def _world(people: int, seed: int) -> tuple[World, list[Person]]:
    """The shop, its model as the pair releases it at epsilon 3, and people it never saw."""
    shop = loading.load("online-retail", None)
    parts = loading.split(shop)
    held = hold_out(shop, parts.test, TEST_SEED)
    if not 40 <= people <= len(held.known):
        raise InvalidInput(
            "--people", f"{people} is out of range", f"use 40 to {len(held.known)}"
        )
    generator = np.random.default_rng(seed)
    crowd = Population(shop, parts.train)
    model = crowd.train(3.0, DELTA, noise="pair", generator=generator).model
    catalog = Catalog(
        Item(id=one, title=title, category=kind)
        for one, title, kind in zip(
            shop.item_ids, shop.titles, shop.categories, strict=True
        )
    )
    chosen = [
        Person(
            tuple(shop.item_ids[item] for item in known),
            frozenset(shop.item_ids[item] for item in hidden),
        )
        for known, hidden in zip(held.known[:people], held.hidden[:people], strict=True)
    ]
    return World(catalog, model), chosen


def _released(
    vectors: NDArray[np.float64], epsilon: float, generator: np.random.Generator
) -> Sums:
    """One period as the pair releases it: rounded, summed, with the noise of both halves."""
    encoding = Encoding(vectors.shape[1], LEVELS, BOX, generator.bytes(32))
    sigma2 = sigma2_for(encoding.norm_bound, mu_for(epsilon, DELTA), 1.0)
    total = encoding.encode(vectors, generator.bytes).sum(axis=0, dtype=np.int64)
    table = NoiseTable.of("rounded_gaussian", sigma2)
    for _ in range(2):
        total += table.sample(encoding.padded, generator.bytes)
    decoded = encoding.decode(total, len(vectors))
    tau = float(np.sqrt(float(2 * sigma2))) / encoding.levels_per_unit
    return Sums.of(decoded, len(vectors), tau, len(TRIAL.arms))


def _table(result: Result) -> str:
    lines = [
        f"{result.people} people, epsilon {result.epsilon:g} each; "
        f"arms fit their shares: p = {result.ratio_p:.2f}",
        f"{'against ' + TRIAL.arms[0].name:36}{'difference':>12}{'95 %':>18}{'p, any time':>13}",
    ]
    for one in result.readings:
        low, high = one.interval
        told = f"{one.metric}, {one.arm} {one.guardrail}"
        interval = f"[{low:.2f}, {high:.2f}]"
        lines.append(
            f"{told:36}{one.difference:12.2f}{interval:>18}{one.p_always:13.4f}"
        )
    return "\n".join(lines)


def _plot(looks: Sequence[Result]) -> str:
    curves = {
        (one.metric, one.arm): [
            (look.people, found.difference, *found.interval, found.p_always)
            for look in looks
            for found in look.readings
            if (found.metric, found.arm) == (one.metric, one.arm)
        ]
        for one in looks[-1].readings
    }
    return readings(curves)
