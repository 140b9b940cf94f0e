"""Trust assumptions of a claim, by the placement of the noise.

They say against whom the claim holds, what voids it, and what remains of it if a party
misbehaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from tactful.audit.evidence.audit_case import AuditCase
from tactful.privacy.accountant import epsilon_for, mu_from_rho
from tactful.privacy.calibration import epsilon_with_missing_noise
from tactful.privacy.mechanism import Placement

Row = tuple[str, str, str]  # (what happens, epsilon, verdict)

AGAINST: Mapping[Placement, str] = {
    Placement.AGGREGATOR: (
        "anyone who sees all published data, and all but one aggregator"
    ),
    Placement.DEVICES: (
        "anyone who sees all published data, and all but one aggregator, as long as "
        "the claimed number of devices is honest"
    ),
    Placement.LOCAL: (
        "anyone, including both aggregators together: local, each report is protected "
        "by its own noise"
    ),
}
VOID: Mapping[Placement, str] = {
    Placement.AGGREGATOR: (
        "The two aggregators do not collude. If they do, there is no claim."
    ),
    Placement.DEVICES: (
        "The two aggregators do not collude, and enough devices are honest. Otherwise "
        "there is no claim."
    ),
    Placement.LOCAL: (
        "local: a report is protected by its own noise alone. It is not claimed that "
        "any party cannot see it."
    ),
}


def signer_lines(case: AuditCase) -> list[str]:
    """Return lines that name the signers of the evidence.

    The auditor compares their keys with those that the owners publish.
    """
    keys, made_by = case.evidence.documents.keys, case.evidence.made_by
    lines = [f"evidence signed by {made_by}"] if made_by else []
    if keys is not None:
        lines.append(f"signing keys: leader {keys.leader}, helper {keys.helper}")
        lines.append(
            "compare these keys with those that each operator publishes; the audit "
            "cannot do this"
        )
    return lines


def scenarios(case: AuditCase) -> list[Row]:
    """Return (what happens, epsilon, verdict) of the claimed releases by scenario."""
    rho, delta = case.events_rho, case.claim.delta
    mu = mu_from_rho(rho)
    claimed = f"{epsilon_for(mu, delta):.3f}"
    # Replacing a report moves the sum twice as far as zeroing it, which doubles mu.
    replaced = f"{epsilon_for(2 * mu, delta):.3f}"
    return [
        *_PLACEMENT_ROWS[case.placement](case, rho, claimed),
        (
            "a device's reports are replaced instead of zeroed",
            replaced,
            "the claim holds at this epsilon",
        ),
        ("sybil devices join", claimed, "the claim holds; the model may be poisoned"),
        (
            "one aggregator changes the item table",
            "-",
            "refused: both aggregators sign the task (A8)",
        ),
        (
            "a device's storage is reset",
            f"{claimed} again",
            "the device may spend again after the trust period (F2)",
        ),
    ]


def _aggregator_rows(case: AuditCase, rho: Fraction, claimed: str) -> list[Row]:
    delta = case.claim.delta
    # Two independent noises of equal variance halve rho.
    both = f"{epsilon_for(mu_from_rho(rho / 2), delta):.3f}"
    missing = ", ".join(
        f"{epsilon_with_missing_noise(rho, delta, part):.2f}"
        for part in (Fraction(1, 10), Fraction(1, 2))
    )
    return [
        ("both aggregators add noise", both, "the claim holds with a margin"),
        (
            "one aggregator adds no noise, or reveals it",
            claimed,
            "the claim holds: it counts one aggregator's noise",
        ),
        (
            "devices drop out",
            claimed,
            "the claim holds: it counts no noise of devices",
        ),
        (
            "any number of devices are malicious",
            claimed,
            "the claim holds for all other devices",
        ),
        (
            "10 % or 50 % of one aggregator's noise variance is missing",
            missing,
            "C2 would detect it",
        ),
        ("leader and helper collude", "none", "no claim: they see every report"),
    ]


def _device_rows(case: AuditCase, rho: Fraction, claimed: str) -> list[Row]:
    delta = case.claim.delta
    batch_size = min(task.min_batch_size for task in case.tasks)
    honest = min(task.honest for task in case.tasks)
    # The variance grows with the number of devices that add noise, and rho falls.
    rho_of_all = rho * honest / batch_size
    all_devices, half_of_devices = (
        f"{epsilon_with_missing_noise(rho_of_all, delta, part):.3f}"
        for part in (Fraction(0), Fraction(1, 2))
    )
    return [
        (
            f"all {batch_size:,} devices add noise",
            all_devices,
            "the claim holds with a margin",
        ),
        (
            f"{batch_size - honest:,} of {batch_size:,} devices add none",
            claimed,
            "the claim holds: it does not count their noise",
        ),
        (
            f"half of {batch_size:,} devices add none",
            half_of_devices,
            "the claim holds at this epsilon",
        ),
        ("all devices but one add none", "none", "no claim"),
        (
            "both aggregators add no noise",
            claimed,
            "the claim holds: it counts no noise of aggregators",
        ),
        ("leader and helper collude", "none", "no claim: they see every report"),
    ]


def _local_rows(case: AuditCase, rho: Fraction, claimed: str) -> list[Row]:
    return [
        (
            "leader and helper are one operator, or collude",
            claimed,
            "the claim holds: local, each report has its own noise",
        ),
        (
            "any number of other devices are malicious",
            claimed,
            "the claim holds: it does not count their noise",
        ),
        ("a device's own noise is missing", "none", "no claim for this device"),
    ]


_PLACEMENT_ROWS = {
    Placement.AGGREGATOR: _aggregator_rows,
    Placement.DEVICES: _device_rows,
    Placement.LOCAL: _local_rows,
}
