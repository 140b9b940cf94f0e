"""A simulated A/B test on real purchases: personal or diverse lists, with caps or not.

The code of the device assigns, exposes and measures each person, once a day for a week.
Each person adds one noisy report in one period. The operator reads the result after
each period, as often as it likes (anytime-valid statistics). Clicks are simulated: a
person clicks on items that they bought and that the device did not know.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import accumulate
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
    """One participant: purchases that the device knows, and hidden ones."""

    visible: tuple[str, ...]
    hidden: frozenset[str]


@dataclass(frozen=True)
class Shop:
    """The catalog and the model that all devices have."""

    catalog: Catalog
    model: Model


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab experiment`."""
    summary = "simulate an A/B test of four list variants, with private measurement"
    parser = subparsers.add_parser("experiment", help=summary, description=summary)
    parser.add_argument(
        "--epsilon",
        type=float,
        default=3.0,
        help="of each person's report; default: %(default)s",
    )
    parser.add_argument(
        "--people", type=int, default=640, help="participants; default: %(default)s"
    )
    parser.add_argument(
        "--periods",
        type=int,
        default=4,
        help="number of interim results; default: %(default)s",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("out/experiment"),
        help="folder for experiment.json and experiment.svg; default: %(default)s",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab experiment` and return its exit status."""
    mu_for(options.epsilon, DELTA)  # raises InvalidInput that names epsilon
    if not 1 <= options.periods <= options.people:
        raise InvalidInput(
            "--periods",
            f"{options.periods} is out of range",
            f"use 1 to {options.people} (--people)",
        )
    results = experiment(options.people, options.periods, options.epsilon, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "experiment.svg").write_text(_plot(results))
    document = json.dumps([asdict(result) for result in results], indent=1)
    (options.out / "experiment.json").write_text(document + "\n")
    print(_table(results[-1]))
    print(f"plot: {options.out / 'experiment.svg'}")
    return 0


def experiment(people: int, periods: int, epsilon: float, seed: int) -> list[Result]:
    """Return the interim results and the final one.

    Interim results with too few people are left out.
    """
    shop, participants = _shop(people, seed)
    with ProcessPoolExecutor() as pool:
        weeks = pool.map(
            partial(simulate_week, shop), range(len(participants)), participants
        )
        vectors = np.array(list(weeks))
    generator = np.random.default_rng(seed)
    sums = [
        _release(period, epsilon, generator)
        for period in np.array_split(vectors, periods)
    ]
    *interim, total = accumulate(sums)
    results = []
    for sums_so_far in interim:
        result = _interim_result(sums_so_far, epsilon)
        if result is not None:
            results.append(result)
    results.append(result_of(TRIAL, total, epsilon, DELTA))
    return results


def simulate_week(shop: Shop, number: int, person: Person) -> NDArray[np.float64]:
    """Simulate one person's week and return the vector that their device reports."""
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
        shop.catalog,
        settings,
        key=FIXED_KEY,
        consent=LOCAL,
        clock=clock,
        model=shop.model,
    ) as device:
        for item_id in person.visible:
            device.observe(Event(kind="purchase", item_id=item_id))
        first = clock.reading().wall_ms // MS_PER_DAY
        for _ in range(DAYS):
            _visit(device, person)
            clock.advance(MS_PER_DAY)
        participation = experiments.Participation(
            unit, 0, {TRIAL.id: arm.name}, {TRIAL.id: first}
        )
        events = device.rights.events()
        vector = experiments.measure(events, TRIAL, participation, first + DAYS)
    if vector is None:
        return np.zeros(len(TRIAL.arms) * width(len(TRIAL.metrics)))
    return vector


def _visit(device: Personalizer, person: Person) -> None:
    for pick in device.recommend(LENGTH):
        device.observe(pick.impression())
        if pick.item.id in person.hidden:
            device.observe(Event(kind="click", item_id=pick.item.id))


def _interim_result(sums: Sums, epsilon: float) -> Result | None:
    """Return the result so far; None if there are too few people for one."""
    try:
        return result_of(TRIAL, sums, epsilon, DELTA)
    except InvalidInput:
        return None


def _shop(people: int, seed: int) -> tuple[Shop, list[Person]]:
    """Return the shop with a model trained at epsilon 3, and test people."""
    dataset = loading.load("online-retail", None)
    split = loading.split(dataset)
    holdout = hold_out(dataset, split.test, TEST_SEED)
    if not 40 <= people <= len(holdout.visible):
        raise InvalidInput(
            "--people",
            f"{people} is out of range",
            f"use 40 to {len(holdout.visible)}",
        )
    generator = np.random.default_rng(seed)
    crowd = Population(dataset, split.train)
    model = crowd.train(3.0, DELTA, noise="pair", generator=generator).model
    columns = zip(dataset.item_ids, dataset.titles, dataset.categories, strict=True)
    catalog = Catalog(
        Item(id=item_id, title=title, category=category)
        for item_id, title, category in columns
    )
    participants = []
    for visible, hidden in zip(
        holdout.visible[:people], holdout.hidden[:people], strict=True
    ):
        visible_ids = tuple(dataset.item_ids[item] for item in visible)
        hidden_ids = frozenset(dataset.item_ids[item] for item in hidden)
        participants.append(Person(visible_ids, hidden_ids))
    return Shop(catalog, model), participants


def _release(
    vectors: NDArray[np.float64], epsilon: float, generator: np.random.Generator
) -> Sums:
    """Return the sums of one period, rounded and with the noise of both aggregators."""
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
        f"sample ratio mismatch test: p = {result.ratio_p:.2f}",
        f"{'against ' + TRIAL.arms[0].name:36}{'difference':>12}{'95 %':>18}"
        f"{'anytime p':>13}",
    ]
    for reading in result.readings:
        low, high = reading.interval
        name = f"{reading.metric}, {reading.arm} {reading.guardrail}"
        interval = f"[{low:.2f}, {high:.2f}]"
        lines.append(
            f"{name:36}{reading.difference:12.2f}{interval:>18}{reading.p_always:13.4f}"
        )
    return "\n".join(lines)


def _plot(results: Sequence[Result]) -> str:
    """Return a plot of all differences over the number of people, as SVG."""
    last = results[-1]
    curves: dict[tuple[str, str], list[tuple[float, float, float, float, float]]]
    curves = {(reading.metric, reading.arm): [] for reading in last.readings}
    for result in results:
        for reading in result.readings:
            low, high = reading.interval
            point = (result.people, reading.difference, low, high, reading.p_always)
            if (reading.metric, reading.arm) in curves:
                curves[reading.metric, reading.arm].append(point)
    return readings(curves)
