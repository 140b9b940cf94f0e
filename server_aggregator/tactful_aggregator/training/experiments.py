"""Experiments at the leader: open a period, collect its sums, report the results.

A device takes part in one period only, the first that is open after its measurement ended.
Periods can therefore be added up, and each is charged to other devices.
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
from tactful_aggregator.training.coordinator import RoundCoordinator
from tactful_aggregator.training.countersign import check_task
from tactful_aggregator.training.noise_policy import (
    BOX,
    LEVELS,
    check_honest,
    fresh_nonce,
    round_noise,
)
from tactful_aggregator.training.publication import append_to_log, record_batch
from tactful_aggregator.training.rounds import ended_too_small
from tactful_aggregator.training.step_lock import exclusive

# Fields of an opening that its task repeats.
TASK_FIELDS = ("epsilon", "delta", "min_batch_size", "placement", "honest")


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A period as the operator requests it: (`epsilon`, `delta`)-private for its devices.

    `placement` and `honest` have the same meaning as in a Training.
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
        # Raises InvalidInput, which names epsilon or delta.
        mu_for(self.epsilon, self.delta)
        for name in ("min_batch_size", "period_seconds"):
            value = getattr(self, name)
            if value < 1:
                raise InvalidInput(
                    name, f"{value} is below 1", "use a positive integer"
                )
        check_honest(self.placement, self.honest, self.min_batch_size)


@dataclass(frozen=True, kw_only=True)
class MetricResult:
    """The result of one metric of one arm against the control, in the metric's own unit.

    `interval` is the 95 % confidence interval for one planned analysis; `p_always` is valid
    at any time. `guardrail` is "held", "broken" or "unclear", or empty if the metric has none.
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
    """The results of all periods so far.

    A `ratio_p` below 0.001 means a sample ratio mismatch: arms lost people, so do not trust
    the other results.
    """

    experiment: str
    people: int
    arms: dict[str, float]
    ratio_p: float
    trusted: bool
    readings: tuple[MetricResult, ...]
    epsilon: float
    delta: float

    def json(self) -> dict[str, object]:
        """Return the results as the operator's API returns them."""
        return asdict(self)


def model_of(experiment: Experiment) -> str:
    """Return the model name under which tasks of the experiment are published."""
    return _model_name(experiment.id)


def _model_name(experiment_id: str) -> str:
    return f"experiment-{experiment_id}"


def open_period(
    store: Datastore,
    aggregator: Aggregator,
    coordinator: RoundCoordinator,
    opening: Opening,
    now: int,
) -> Task:
    """Open a period of an experiment and return its task.

    If another caller opened the same period meanwhile, returns its task. Raises InvalidInput
    while a period is open, TaskRejected if an aggregator refuses the task.
    """
    model = model_of(opening.experiment)
    before = _task_without_period(store, model)
    with exclusive(store, model) as locked_store:
        current = _task_without_period(locked_store, model)
        is_new = current is not None and current != before
        if is_new and current is not None and _matches(current, opening):
            return current
        return _open_task(locked_store, aggregator, coordinator, opening, now)


def _task_without_period(store: Datastore, model: str) -> Task | None:
    with store.transaction() as tx:
        signed = tx.tasks.newest_without_period(model)
    return None if signed is None else signed.task


def _matches(task: Task, opening: Opening) -> bool:
    """Return True if the task is of a period that was requested with this opening."""
    seconds = task.expires - task.opens
    has_experiment = task.guide == opening.experiment.sha256
    has_duration = seconds == opening.period_seconds
    has_policy = all(
        getattr(task, name) == getattr(opening, name) for name in TASK_FIELDS
    )
    return has_experiment and has_duration and has_policy


def _open_task(
    store: Datastore,
    aggregator: Aggregator,
    coordinator: RoundCoordinator,
    opening: Opening,
    now: int,
) -> Task:
    experiment = opening.experiment
    task = _task(aggregator, opening, now)
    with store.transaction() as tx:
        current = tx.tasks.newest_without_period(task.model)
        if current is not None and not ended_too_small(tx, current.task, now):
            raise InvalidInput(
                "experiment",
                f"{experiment.id!r} has an open period",
                "collect it first with: tactful-aggregator experiment --dir DIR "
                f"--read {experiment.id}",
            )
        check_task(task, tx.tasks.of_model(task.model), aggregator)
    signature = aggregator.keys.signer.sign(SIGNED_AS + task.document)
    helper_signature = coordinator.sign_task(task, signature)
    signed = SignedTask(task, {"leader": signature, "helper": helper_signature})
    signed.verify(*aggregator.public_keys(), now=now)
    with store.transaction() as tx:
        tx.published.add_file(experiment.sha256, experiment.document)
        tx.tasks.add(signed)
        append_to_log(tx, "task", task.document, now)
    return task


def read_results(
    store: Datastore,
    aggregator: Aggregator,
    coordinator: RoundCoordinator,
    experiment_id: str,
    now: int,
) -> Result:
    """Collect the open period, if there is one, and return the results of all periods.

    A period that ended with too few reports is left out. Raises BatchTooSmall while too few
    reports have arrived, InvalidInput for an unknown experiment.
    """
    with exclusive(store, _model_name(experiment_id)) as locked_store:
        _collect_open_period(locked_store, coordinator, experiment_id, now)
        return _results(locked_store, experiment_id)


def _collect_open_period(
    store: Datastore, coordinator: RoundCoordinator, experiment_id: str, now: int
) -> None:
    with store.transaction() as tx:
        current = tx.tasks.newest_without_period(_model_name(experiment_id))
        if current is None or ended_too_small(tx, current.task, now):
            return
    task = current.task
    total, count = coordinator.collect(task)
    record_batch(store, task, total, count, now)
    vector = task.decode(total, count)
    # The standard deviation of all noise in the sum, in units of the decoded vector.
    tau = math.sqrt(task.noise_variance(count)) / task.encoding.levels_per_unit
    period = Period(task.id, count, tau, vector.tobytes())
    with store.transaction() as tx:
        tx.periods.add(task.model, period)


def _results(store: Datastore, experiment_id: str) -> Result:
    model = _model_name(experiment_id)
    with store.transaction() as tx:
        periods = tx.periods.of_model(model)
        tasks = tx.tasks.of_model(model)
        if not periods:
            raise InvalidInput(
                "experiment",
                f"{experiment_id!r} is unknown or has no collected period",
                "open a period first with: tactful-aggregator experiment --dir DIR "
                "--open FILE",
            )
        document = tx.published.file(str(tasks[-1].guide))
    experiment = Experiment.parse(document or b"")
    sums = _sums(periods[0], len(experiment.arms))
    for period in periods[1:]:
        sums = sums + _sums(period, len(experiment.arms))
    return result_of(experiment, sums, tasks[-1].epsilon, tasks[-1].delta)


def result_of(
    experiment: Experiment, sums: Sums, epsilon: float, delta: float
) -> Result:
    """Return the results of noisy sums; raises InvalidInput if they have too few people."""
    shares = np.array([float(arm.part) for arm in experiment.arms])
    ratio_p_value = ratio_p(sums, shares)
    counts = sums.arms[:, 0].tolist()
    arm_names = [arm.name for arm in experiment.arms]
    # Arm 0 is the control.
    readings = [
        _metric_result(experiment, sums, arm, metric)
        for arm in range(1, len(experiment.arms))
        for metric in range(len(experiment.metrics))
    ]
    return Result(
        experiment=experiment.id,
        people=sums.people,
        arms=dict(zip(arm_names, counts, strict=True)),
        ratio_p=ratio_p_value,
        trusted=ratio_p_value >= SUSPICIOUS,
        readings=tuple(readings),
        epsilon=epsilon,
        delta=delta,
    )


def _sums(period: Period, arms: int) -> Sums:
    return Sums.of(np.frombuffer(period.vector), period.people, period.tau, arms)


def _metric_result(
    experiment: Experiment, sums: Sums, arm: int, metric_index: int
) -> MetricResult:
    metric = experiment.metrics[metric_index]
    # Devices scale a metric to [0, 1]; results are scaled back to its own unit.
    scale = metric.high - metric.low
    estimate = difference(sums, arm, metric_index, metric.effect / scale)
    low, high = estimate.interval
    return MetricResult(
        metric=metric.name,
        arm=experiment.arms[arm].name,
        control=metric.low + scale * estimate.control,
        difference=scale * estimate.value,
        interval=(scale * low, scale * high),
        p_always=estimate.p_always,
        guardrail=_guardrail(metric, estimate),
    )


def _guardrail(metric: Metric, estimate: Difference) -> str:
    if metric.may_fall is None:
        return ""
    floor = -metric.may_fall / (metric.high - metric.low)
    low, high = estimate.interval
    if low >= floor:
        return "held"
    return "broken" if high < floor else "unclear"


def _task(aggregator: Aggregator, opening: Opening, now: int) -> Task:
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
        leader=aggregator.settings.url,
        helper=aggregator.other_aggregator.url,
        opens=now,
        expires=now + opening.period_seconds,
        guide=experiment.sha256,
        nonce=fresh_nonce(),
        placement=opening.placement,
        honest=opening.honest,
    )
