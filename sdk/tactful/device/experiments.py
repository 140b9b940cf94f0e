"""Experiments on the device: it draws its variant, and is counted only in sums."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from tactful.device.events import StoredEvent
from tactful.device.vault import Record, Vault
from tactful.protocol.documents.experiment import SLOTS, Arm, Experiment, Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DAY_MS = 86_400_000
ARM_SLOTS = 1 << 32  # slots that the arms of one experiment divide
PARTICIPATION_KINDS = ("experiment_unit", "assignment", "exposure")
REPEATED_WITHIN_DAYS = 7


@dataclass(frozen=True)
class Participation:
    """The part that this device takes in experiments.

    `unit` is its secret random id, and `arms` its arm by experiment. `exposed` has the
    first day of exposure by experiment, in days since 1970. `born` is the unix second
    since which this unit exists if an older one was erased, else 0.
    """

    unit: bytes = b""
    born: int = 0
    arms: Mapping[str, str] = field(default_factory=dict)
    exposed: Mapping[str, int] = field(default_factory=dict)


def slot(unit: bytes, name: str, slots: int = SLOTS) -> int:
    """Return the slot of a unit under `name`, 0 to `slots` - 1, from SHA-256.

    Unit and name (UTF-8) are hashed with their lengths, so that no two pairs have the
    same input. Names are not normalised: two spellings of one letter are two names.
    """
    parts = unit, name.encode()
    encoded = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    digest = hashlib.sha256(encoded).digest()
    return int.from_bytes(digest[:8], "big") * slots >> 64


def arm_of(unit: bytes, experiment: Experiment) -> Arm | None:
    """Return the arm of a unit, None if its slot of the layer is not in the experiment."""
    layer_slot = slot(unit, f"layer {experiment.layer}") - experiment.first
    if not 0 <= layer_slot < experiment.slots:
        return None
    arm_slot = slot(unit, f"experiment {experiment.id}", ARM_SLOTS)
    end = Fraction()
    for arm in experiment.arms:
        end += arm.part * ARM_SLOTS
        if arm_slot < end:
            return arm
    return None


def participation(vault: Vault, now: int) -> Participation:
    """Return the participation of this device; draw its unit on first use.

    `now` is in unix seconds. The unit never leaves the device.
    """
    stored = _participation_of(vault.read(0, PARTICIPATION_KINDS))
    if stored.unit:
        return stored
    was_erased = any(True for _ in vault.read(0, ["forgotten"]))
    body = {"secret": secrets.token_hex(16), "born": now if was_erased else 0}
    # If another process draws a unit at the same time, the first record counts.
    vault.append("experiment_unit", body, name="unit", durable=True)
    return _participation_of(vault.read(0, PARTICIPATION_KINDS))


def assign(vault: Vault, experiment: Experiment, now: int) -> Arm | None:
    """Return this device's arm, None if it takes no part.

    The arm is drawn once and kept, whatever changes later. `now` is in unix seconds. A
    unit that was drawn after an erasure takes no part in experiments that had opened
    before.
    """
    stored = participation(vault, now)
    arm_name = stored.arms.get(experiment.id)
    if arm_name is not None:
        return next((arm for arm in experiment.arms if arm.name == arm_name), None)
    is_running = experiment.opens <= now < experiment.closes
    if not is_running or stored.born > experiment.opens:
        return None
    arm = arm_of(stored.unit, experiment)
    if arm is not None:
        body = {"experiment": experiment.id, "arm": arm.name}
        record_name = f"assignment {experiment.id}"
        vault.append("assignment", body, name=record_name, durable=True)
    return arm


def log_exposure(vault: Vault, experiment: Experiment, day: int) -> None:
    """Record once a day that the person saw their variant; `day` is since 1970."""
    body = {"experiment": experiment.id, "day": day}
    vault.append("exposure", body, name=f"exposure {experiment.id} {day}")


def claim_period(vault: Vault, experiment: Experiment, task_id: str) -> bool:
    """Return True if this device contributes to the experiment in the task `task_id`.

    It contributes in the first period that it claims, and in no other.
    """
    body = {"experiment": experiment.id, "task_id": task_id}
    record_name = f"period {experiment.id}"
    position = vault.append("period", body, name=record_name, durable=True)
    first_claim = next(vault.read(position - 1, ["period"]))
    return first_claim.body["task_id"] == task_id


def measure(
    events: Iterable[StoredEvent],
    experiment: Experiment,
    stored: Participation,
    day: int,
) -> NDArray[np.float64] | None:
    """Return this device's vector of norm at most 1, None until its window has ended.

    `day` is today, in days since 1970. Events that were recorded only for frequency
    caps are not counted.
    """
    from tactful.learning.experiment_statistics import person_vector

    days = window(stored, experiment, day)
    arm_names = [arm.name for arm in experiment.arms]
    arm_name = stored.arms.get(experiment.id)
    if days is None or arm_name not in arm_names:
        return None
    counted = [event for event in events if event.purpose != "essential"]
    during, before = metric_values(counted, experiment, days)
    return person_vector(arm_names.index(arm_name), len(arm_names), during, before)


def window(
    stored: Participation, experiment: Experiment, day: int
) -> tuple[int, int] | None:
    """Return (first day, end day) of the measured window, None until it has ended.

    The end day is exclusive.
    """
    first_day = stored.exposed.get(experiment.id)
    if first_day is None or day < first_day + experiment.days:
        return None
    return first_day, first_day + experiment.days


def metric_values(
    events: Iterable[StoredEvent], experiment: Experiment, days: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each metric in the window, and in as many days before it.

    Values are clipped and scaled to 0 to 1; both arrays have shape (metrics,).
    """
    import numpy as np

    first_day, end_day = days
    all_events = list(events)
    spans = ((first_day, end_day), (2 * first_day - end_day, first_day))
    during, before = (
        np.array([_scaled(all_events, metric, span) for metric in experiment.metrics])
        for span in spans
    )
    return during, before


def _participation_of(records: Iterable[Record]) -> Participation:
    unit, born = b"", 0
    arms: dict[str, str] = {}
    exposed: dict[str, int] = {}
    for record in records:
        body = record.body
        if record.kind == "experiment_unit":
            unit = bytes.fromhex(str(body["secret"]))
            born = int(str(body["born"]))
        elif record.kind == "assignment":
            arms[str(body["experiment"])] = str(body["arm"])
        else:
            day = int(str(body["day"]))
            exposed.setdefault(str(body["experiment"]), day)
    return Participation(unit, born, arms, exposed)


def _scaled(
    events: Sequence[StoredEvent], metric: Metric, span: tuple[int, int]
) -> float:
    first_day, end_day = span
    in_span = [
        event for event in events if first_day <= event.at_ms // DAY_MS < end_day
    ]
    if metric.counts == "repeat":
        count = _repeat_count(in_span)
    else:
        count = sum(event.kind == metric.counts for event in in_span)
    clipped = min(max(count, metric.low), metric.high)
    return (clipped - metric.low) / (metric.high - metric.low)


def _repeat_count(events: Iterable[StoredEvent]) -> int:
    """Return the impressions of items that were shown in the seven days before."""
    last_day: dict[str | None, int] = {}
    repeats = 0
    for event in events:
        if event.kind == "impression":
            previous = last_day.get(event.item_id)
            today = event.at_ms // DAY_MS
            if previous is not None and today - previous < REPEATED_WITHIN_DAYS:
                repeats += 1
            last_day[event.item_id] = today
    return repeats
