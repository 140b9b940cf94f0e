"""Experiments at the leader: open a period, collect its sums, read what they say.

A device takes part in one period only, the first that is open once it was measured, so periods
add up, and each is charged to other devices.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import numpy as np

from tactful.errors import InvalidInput
from tactful.learning.experiment_statistics import (
    SUSPICIOUS,
    Difference,
    Sums,
    difference,
    ratio_p,
    width,
)
from tactful.privacy.accountant import mu_for
from tactful.privacy.mechanism import format_fraction
from tactful.protocol.documents.experiment import Experiment, Metric
from tactful.protocol.documents.task import SIGNED_AS, SignedTask, Task
from tactful_aggregator.datastore import Datastore, Period
from tactful_aggregator.settings import Aggregator
from tactful_aggregator.training import countersign
from tactful_aggregator.training.noise_policy import (
    BOX,
    LEVELS,
    check_honest,
    fresh_nonce,
    round_noise,
)
from tactful_aggregator.training.step_lock import exclusive
from tactful_aggregator.training.steps import Peer, log, record_batch, too_few_came


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What the operator asks for: each period is (`epsilon`, `delta`)-private for its devices.

    `placement` and `honest` are as in a Training.
    """

    experiment: Experiment
    epsilon: float
    delta: float
    min_batch_size: int
    period_seconds: int = 7 * 86_400
    placement: Literal["aggregator", "devices", "local"] = "aggregator"
    honest: int = 0
    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    def __post_init__(self) -> None:
        mu_for(self.epsilon, self.delta)  # raises InvalidInput naming epsilon or delta
        for name in ("min_batch_size", "period_seconds"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, "it is below 1", "use a positive number")
        check_honest(self.placement, self.honest, self.min_batch_size)


@dataclass(frozen=True, kw_only=True)
class MetricResult:
    """One metric of one arm against the control, in the metric's own unit.

    `interval` is 95 % for one planned look, `p_always` may be read at any time. `guardrail` is
    held, broken or unclear, or empty where there is none.
    """

    metric: str
    arm: str
    control: float
    difference: float
    interval: tuple[float, float]
    p_always: float
    guardrail: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """All periods so far; below 0.001 `ratio_p` says that arms lost people: distrust the rest."""

    experiment: str
    people: int
    arms: dict[str, float]
    ratio_p: float
    trusted: bool
    readings: tuple[MetricResult, ...]
    epsilon: float
    delta: float

    def json(self) -> dict[str, object]:
        """As it is shown."""
        return asdict(self)


def model_of(experiment: Experiment) -> str:
    """The name under which a task of the experiment is published."""
    return f"experiment-{experiment.id}"


def start(
    store: Datastore, half: Aggregator, peer: Peer, opening: Opening, now: int
) -> Task:
    """Open a period; raises InvalidInput while one is open, TaskRejected if a half refuses.

    If another caller opened just this period meanwhile, return its task and open none.
    """
    model = model_of(opening.experiment)
    before = _unread(store, model)
    with exclusive(store, model) as held:
        unread = _unread(held, model)
        if unread is not None and unread != before and _is_same(unread, opening):
            return unread
        return _opened(held, half, peer, opening, now)


def _unread(store: Datastore, model: str) -> Task | None:
    with store.transaction() as tx:
        signed = tx.unread_task(model)
    return None if signed is None else signed.task


def _is_same(task: Task, opening: Opening) -> bool:
    """Whether the task is of a period that was asked for with this opening."""
    seconds = task.expires - task.opens
    promised = ("epsilon", "delta", "min_batch_size", "placement", "honest")
    alike = all(getattr(task, name) == getattr(opening, name) for name in promised)
    return alike and (task.guide, seconds) == (
        opening.experiment.sha256,
        opening.period_seconds,
    )


def _opened(
    store: Datastore, half: Aggregator, peer: Peer, opening: Opening, now: int
) -> Task:
    task = _task(half, opening, now)
    with store.transaction() as tx:
        unread = tx.unread_task(task.model)
        if unread is not None and not too_few_came(tx, unread.task, now):
            raise InvalidInput(
                "experiment", f"{opening.experiment.id!r} is open", "read it first"
            )
        countersign.check(task, tx.tasks(task.model), half)
    mine = half.keys.signer.sign(SIGNED_AS + task.document)
    signed = SignedTask(task, {"leader": mine, "helper": peer.sign_task(task, mine)})
    signed.verify(*half.public_keys(), now=now)
    with store.transaction() as tx:
        tx.add_file(opening.experiment.sha256, opening.experiment.document)
        tx.add_task(signed)
        log(tx, "task", task.document, now)
    return task


def read(
    store: Datastore, half: Aggregator, peer: Peer, experiment_id: str, now: int
) -> Result:
    """Collect the open period, if there is one, and read all of them together.

    Raises BatchTooSmall while too few reports have come, InvalidInput for an unknown experiment. A
    period that ended with too few is left out.
    """
    with exclusive(store, f"experiment-{experiment_id}") as held:
        return _read(held, half, peer, experiment_id, now)


def _read(
    store: Datastore, half: Aggregator, peer: Peer, experiment_id: str, now: int
) -> Result:
    model = f"experiment-{experiment_id}"
    with store.transaction() as tx:
        pending = tx.unread_task(model)
        waits = pending is not None and not too_few_came(tx, pending.task, now)
    if pending is not None and waits:
        _collected(store, half, peer, pending.task, now)
    with store.transaction() as tx:
        periods = tx.periods(model)
        tasks = tx.tasks(model)
        if not periods:
            raise InvalidInput(
                "experiment", f"{experiment_id!r} is unknown", "start it first"
            )
        document = tx.file(str(tasks[-1].guide))
    experiment = Experiment.parse(document or b"")
    sums = _sums(periods[0], len(experiment.arms))
    for period in periods[1:]:
        sums = sums + _sums(period, len(experiment.arms))
    return result_of(experiment, sums, tasks[-1].epsilon, tasks[-1].delta)


def _collected(
    store: Datastore, half: Aggregator, peer: Peer, task: Task, now: int
) -> None:
    total, count = peer.collect(task)
    record_batch(store, task, total, count, now)
    vector = task.decode(total, count)
    tau = math.sqrt(task.noise_variance(count)) / task.encoding.levels_per_unit
    period = Period(task.id, count, tau, vector.tobytes())
    with store.transaction() as tx:
        tx.add_period(task.model, period)


def result_of(
    experiment: Experiment, sums: Sums, epsilon: float, delta: float
) -> Result:
    """What noisy sums say; raises InvalidInput where they are of too few people."""
    shares = np.array([float(arm.part) for arm in experiment.arms])
    fits, counts = ratio_p(sums, shares), sums.arms[:, 0]
    readings = (
        _reading(experiment, sums, arm, place)
        for arm in range(1, len(experiment.arms))
        for place in range(len(experiment.metrics))
    )
    return Result(
        experiment=experiment.id,
        people=sums.people,
        arms=dict(
            zip((arm.name for arm in experiment.arms), counts.tolist(), strict=True)
        ),
        ratio_p=fits,
        trusted=fits >= SUSPICIOUS,
        readings=tuple(readings),
        epsilon=epsilon,
        delta=delta,
    )


def _sums(period: Period, arms: int) -> Sums:
    return Sums.of(np.frombuffer(period.vector), period.people, period.tau, arms)


def _reading(experiment: Experiment, sums: Sums, arm: int, place: int) -> MetricResult:
    metric = experiment.metrics[place]
    scale = metric.high - metric.low
    found = difference(sums, arm, place, metric.effect / scale)
    low, high = found.interval
    return MetricResult(
        metric=metric.name,
        arm=experiment.arms[arm].name,
        control=metric.low + scale * found.control,
        difference=scale * found.value,
        interval=(scale * low, scale * high),
        p_always=found.p_always,
        guardrail=_guardrail(metric, found),
    )


def _guardrail(metric: Metric, found: Difference) -> str:
    if metric.may_fall is None:
        return ""
    floor = -metric.may_fall / (metric.high - metric.low)
    low, high = found.interval
    return "held" if low >= floor else "broken" if high < floor else "unclear"


def _task(half: Aggregator, opening: Opening, now: int) -> Task:
    experiment = opening.experiment
    length = len(experiment.arms) * width(len(experiment.metrics))
    family, sigma2 = round_noise(opening, length, 1.0)
    return Task(
        version="tactful-1",
        model=model_of(experiment),
        round=0,
        rounds=1,
        kind="experiment",
        catalog=experiment.sha256,
        items=len(experiment.arms),
        length=length,
        levels=LEVELS,
        box=BOX,
        family=family,
        sigma2=format_fraction(sigma2),
        adjacency="zero_out",
        unit="device",
        epsilon=opening.epsilon,
        delta=opening.delta,
        min_batch_size=opening.min_batch_size,
        leader=half.settings.url,
        helper=half.paired.url,
        opens=now,
        expires=now + opening.period_seconds,
        guide=experiment.sha256,
        nonce=fresh_nonce(),
        placement=opening.placement,
        honest=opening.honest,
    )
