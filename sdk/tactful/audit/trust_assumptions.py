"""What is said of a claim by who adds the noise: whom it holds against, and what voids it."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from tactful.audit.evidence.audit_case import AuditCase
from tactful.privacy.accountant import epsilon_for, mu_from_rho
from tactful.privacy.calibration import epsilon_with_missing_noise
from tactful.privacy.mechanism import Placement

Row = tuple[str, str, str]  # who misbehaves, epsilon, verdict

AGAINST: Mapping[Placement, str] = {
    Placement.AGGREGATOR: "anyone who sees all that is published, and all but one aggregator",
    Placement.DEVICES: (
        "anyone who sees all that is published, and all but one aggregator, while as many devices "
        "are honest as the claim counts on"
    ),
    Placement.LOCAL: "anyone, both aggregators together among them: local, each report by itself",
}
VOID: Mapping[Placement, str] = {
    Placement.AGGREGATOR: (
        "The two aggregators do not collude; if they do there is no claim at all."
    ),
    Placement.DEVICES: (
        "The two aggregators do not collude, and enough devices are honest; if not there is no "
        "claim at all."
    ),
    Placement.LOCAL: (
        "local: a report is protected by its own noise alone; it is not claimed that it stays "
        "hidden from any one party."
    ),
}


def trusted(case: AuditCase) -> list[str]:
    """Whose word the evidence is, for the auditor to compare with what its owners say."""
    keys, by = case.evidence.documents.keys, case.evidence.made_by
    said = [f"evidence signed by {by}"] if by else []
    if keys is not None:
        said.append(f"signing keys: leader {keys.leader}, helper {keys.helper}")
        said.append("compare them with what each operator says; nothing here can")
    return said


def scenarios(case: AuditCase) -> list[Row]:
    """(who misbehaves, epsilon, verdict) for the claimed releases."""
    rho = sum((event.rho for event in case.events), Fraction(0))
    mu, delta = mu_from_rho(rho), case.claim.delta
    claimed, twice = (
        f"{epsilon_for(mu, delta):.3f}",
        f"{epsilon_for(2 * mu, delta):.3f}",
    )
    return [
        *_SPECIFIC[case.placement](case, rho, claimed),
        ("a device's reports are replaced, not zeroed", twice, "holds at that epsilon"),
        ("sybils join", claimed, "holds; the model may be spoilt"),
        ("one half alters the item table", "-", "refused: both sign the task (A8)"),
        (
            "a device's storage is reset",
            f"{claimed} again",
            "after the trust period (F2)",
        ),
    ]


def _of_aggregators(case: AuditCase, rho: Fraction, claimed: str) -> list[Row]:
    delta = case.claim.delta
    both = f"{epsilon_for(mu_from_rho(rho / 2), delta):.3f}"
    parts = (Fraction(1, 10), Fraction(1, 2))
    missing = ", ".join(
        f"{epsilon_with_missing_noise(rho, delta, part):.2f}" for part in parts
    )
    return [
        ("nobody: both halves add noise", both, "holds with room"),
        ("one half adds no noise, or tells it", claimed, "holds: one is counted"),
        ("devices drop out", claimed, "holds: no device adds noise that is counted"),
        ("any number of devices are malicious", claimed, "holds for the others"),
        ("10 % or half of one half's variance is missing", missing, "C2 would see it"),
        ("leader and helper collude", "none", "no claim: they see every report"),
    ]


def _of_devices(case: AuditCase, rho: Fraction, claimed: str) -> list[Row]:
    delta, size = case.claim.delta, min(task.min_batch_size for task in case.tasks)
    honest = min(task.honest for task in case.tasks)
    everyone = rho * honest / size
    all_there, half = (
        f"{epsilon_with_missing_noise(everyone, delta, part):.3f}"
        for part in (Fraction(0), Fraction(1, 2))
    )
    return [
        (f"nobody: all {size:,} devices add noise", all_there, "holds with room"),
        (
            f"{size - honest:,} of {size:,} devices add none",
            claimed,
            "holds: they are not counted",
        ),
        (f"half of {size:,} devices add none", half, "holds at that epsilon"),
        ("all devices but one add none", "none", "no claim"),
        ("both halves add no noise", claimed, "holds: none of theirs is counted"),
        ("leader and helper collude", "none", "no claim: they see every report"),
    ]


def _of_one(case: AuditCase, rho: Fraction, claimed: str) -> list[Row]:
    return [
        (
            "leader and helper are one operator, or collude",
            claimed,
            "holds: local, by itself",
        ),
        (
            "any number of other devices are malicious",
            claimed,
            "holds: none is counted",
        ),
        ("a device's own noise is missing", "none", "no claim for that device"),
    ]


_SPECIFIC = {
    Placement.AGGREGATOR: _of_aggregators,
    Placement.DEVICES: _of_devices,
    Placement.LOCAL: _of_one,
}
