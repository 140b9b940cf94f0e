"""Which version this device shows: decided here, remembered here, counted only in sums."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
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
FINE = 1 << 32  # places that arms share out
READ = ("unit", "assignment", "exposure")
REPEATED_WITHIN_DAYS = 7


@dataclass(frozen=True)
class Participation:
    """Where this device stands: its secret unit, its arms, the first day of each exposure.

    `born` is the unix second since which this unit exists if an older one was erased, else 0.
    """

    unit: bytes = b""
    born: int = 0
    arms: Mapping[str, str] = field(default_factory=dict)
    exposed: Mapping[str, int] = field(default_factory=dict)


def slot(unit: bytes, name: str, slots: int = SLOTS) -> int:
    """The place in 0..slots-1 that a unit has under `name`; SHA-256, the name as UTF-8 bytes.

    The lengths come first, so that no two pairs are hashed alike, and names are not normalised:
    two spellings of one letter are two names.
    """
    bound = b"".join(
        len(part).to_bytes(4, "big") + part for part in (unit, name.encode())
    )
    return int.from_bytes(hashlib.sha256(bound).digest()[:8], "big") * slots >> 64


def arm_of(unit: bytes, experiment: Experiment) -> Arm | None:
    """The arm of a unit, None if its slot in the layer is not this experiment's."""
    place = slot(unit, f"layer {experiment.layer}") - experiment.first
    if not 0 <= place < experiment.slots:
        return None
    drawn, reached = slot(unit, f"experiment {experiment.id}", FINE), Fraction()
    for arm in experiment.arms:
        reached += arm.part * FINE
        if drawn < reached:
            return arm
    return None


def standing(vault: Vault, now: int) -> Participation:
    """What the vault says of experiments; the unit is drawn on first use, and never leaves."""
    found = _folded(vault.read(0, READ))
    if found.unit:
        return found
    erased = any(True for _ in vault.read(0, ["forgotten"]))
    body = {"secret": secrets.token_hex(16), "born": now if erased else 0}
    vault.append("unit", body, name="unit", durable=True)
    return _folded(vault.read(0, READ))


def assign(vault: Vault, experiment: Experiment, now: int) -> Arm | None:
    """This device's arm: drawn once, then kept whatever changes; None if it takes no part.

    `now` is in unix seconds. A unit drawn after an erasure stays out of what ran before it.
    """
    here = standing(vault, now)
    kept = here.arms.get(experiment.id)
    if kept is not None:
        return next((arm for arm in experiment.arms if arm.name == kept), None)
    runs = experiment.opens <= now < experiment.closes
    arm = (
        arm_of(here.unit, experiment)
        if runs and here.born <= experiment.opens
        else None
    )
    if arm is not None:
        body = {"experiment": experiment.id, "arm": arm.name}
        vault.append(
            "assignment", body, name=f"assignment {experiment.id}", durable=True
        )
    return arm


def expose(vault: Vault, experiment: Experiment, day: int) -> None:
    """Note that the version was seen on `day` (days since 1970), once a day however often."""
    body = {"experiment": experiment.id, "day": day}
    vault.append("exposure", body, name=f"exposure {experiment.id} {day}")


def claim(vault: Vault, experiment: Experiment, task_id: str) -> bool:
    """Whether this device adds to the experiment in the period `task_id`: the first it asks for."""
    body = {"experiment": experiment.id, "task_id": task_id}
    position = vault.append(
        "period", body, name=f"period {experiment.id}", durable=True
    )
    first = next(vault.read(position - 1, ["period"]))
    return first.body["task_id"] == task_id


def vector(
    events: Iterable[StoredEvent], experiment: Experiment, here: Participation, day: int
) -> NDArray[np.float64] | None:
    """What this device adds, of length at most 1; None until it was measured (`day` since 1970).

    What was recorded for repetition limits alone is not counted.
    """
    from tactful.learning.experiment_statistics import person_vector

    days = window(here, experiment, day)
    names = [arm.name for arm in experiment.arms]
    if days is None or here.arms.get(experiment.id) not in names:
        return None
    counted = [event for event in events if event.purpose != "essential"]
    values, before = measured(counted, experiment, days)
    return person_vector(
        names.index(here.arms[experiment.id]), len(names), values, before
    )


def window(
    here: Participation, experiment: Experiment, day: int
) -> tuple[int, int] | None:
    """[first day, end day) in which this device is measured, once it is over by `day`."""
    first = here.exposed.get(experiment.id)
    if first is None or day < first + experiment.days:
        return None
    return first, first + experiment.days


def measured(
    events: Iterable[StoredEvent], experiment: Experiment, days: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(each metric in the window, the same in the days before it), clipped and scaled to 0..1."""
    import numpy as np

    first, end = days
    counted = list(events)
    spans = ((first, end), (2 * first - end, first))
    during, before = (
        np.array([_scaled(counted, metric, span) for metric in experiment.metrics])
        for span in spans
    )
    return during, before


def _folded(records: Iterable[Record]) -> Participation:
    unit, born = b"", 0
    arms: dict[str, str] = {}
    exposed: dict[str, int] = {}
    for record in records:
        body = record.body
        if record.kind == "unit":
            unit, born = bytes.fromhex(str(body["secret"])), int(str(body["born"]))
        elif record.kind == "assignment":
            arms[str(body["experiment"])] = str(body["arm"])
        else:
            day = int(str(body["day"]))
            exposed.setdefault(str(body["experiment"]), day)
    return Participation(unit, born, arms, exposed)


def _scaled(
    events: Iterable[StoredEvent], metric: Metric, span: tuple[int, int]
) -> float:
    inside = [event for event in events if span[0] <= event.at_ms // DAY_MS < span[1]]
    count = (
        _repeats(inside)
        if metric.counts == "repeat"
        else _occurrences(inside, metric.counts)
    )
    clipped = min(max(count, metric.low), metric.high)
    return (clipped - metric.low) / (metric.high - metric.low)


def _occurrences(events: Iterable[StoredEvent], kind: str) -> int:
    return sum(event.kind == kind for event in events)


def _repeats(events: Iterable[StoredEvent]) -> int:
    """Shows of an item that had been shown within the seven days before."""
    last: dict[str | None, int] = {}
    repeats = 0
    for event in events:
        if event.kind == "impression":
            seen = last.get(event.item_id)
            today = event.at_ms // DAY_MS
            repeats += seen is not None and today - seen < REPEATED_WITHIN_DAYS
            last[event.item_id] = today
    return repeats
