"""Hazards of NIST SP 800-226, initial public draft (December 2023), and their answers.

The hazards are paraphrased. Compare them with the final version (March 2025) before you
quote them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tactful.audit.finding import Finding, Status


@dataclass(frozen=True)
class Hazard:
    """One hazard, the answer to it, and the checks that give evidence of the answer."""

    number: int
    hazard: str
    answer: str
    checks: tuple[str, ...] = ()


ELSEWHERE = "outside this audit"
HAZARDS = (
    Hazard(
        1,
        "a large epsilon may give no protection",
        "epsilon is printed, and flagged above 1",
        ("B2", "D1"),
    ),
    Hazard(
        2,
        "(epsilon, delta) does not compose tightly",
        "rho is stored and added as exact fractions",
        ("B3",),
    ),
    Hazard(3, "harm outside the unit", "unit and limits are stated", ("A1",)),
    Hazard(
        4,
        "event-level units do not protect people",
        "the unit is a device for its lifetime",
        ("A1",),
    ),
    Hazard(
        5, "different deltas mislead", "one delta, with the epsilon at 1e-5", ("A5",)
    ),
    Hazard(
        6, "different units mislead", "units are types and never converted", ("A1",)
    ),
    Hazard(
        7,
        "a large delta gives no privacy",
        "delta is at most 1 / (10 devices)",
        ("A5",),
    ),
    Hazard(8, "other releases", "every byte that leaves is specified", ("A7", "E1")),
    Hazard(
        9,
        "own implementation",
        "exact tables, test vectors, two other libraries",
        ("B1", "C2", "C3", "C4"),
    ),
    Hazard(
        10,
        "systemic bias is amplified",
        "the lab evaluates utility by group size",
    ),
    Hazard(11, "fixes have side effects", "the lab evaluates each correction"),
    Hazard(12, "statistical bias", "rounding is unbiased; clipping is reported"),
    Hazard(13, "bounded contributions lose utility", "the lab reports the loss"),
    Hazard(
        14,
        "bins must be fixed in advance",
        "the signed task fixes the catalog",
        ("A8", "H5"),
    ),
    Hazard(
        15,
        "learning is not private by itself",
        "models are learned from noisy sums only",
        ("A7",),
    ),
    Hazard(16, "synthetic data can be attacked", "none is released"),
    Hazard(17, "deep private synthesis is weak", "none is released"),
    Hazard(
        18,
        "the unit of unstructured data is unclear",
        "only declared events are used",
        ("E1", "E4"),
    ),
    Hazard(
        19,
        "interactive queries",
        "tasks are fixed; the device enforces its budget",
        ("A8", "F4"),
    ),
    Hazard(
        20,
        "trust assumptions must be realistic",
        "two named operators; the report states first that they must not collude",
        ("I",),
    ),
    Hazard(
        21, "side channels", "constant report size and sampling steps", ("C5", "E2")
    ),
    Hazard(
        22,
        "security failures void privacy",
        "documents are encrypted, signed and logged",
        ("G1", "G2", "G3", "G6"),
    ),
    Hazard(
        23,
        "access failures void privacy",
        "raw reports are deleted after the batch",
        ("G1", "H1"),
    ),
    Hazard(
        24,
        "privacy does not justify collection",
        "raw events never leave the device",
        ("E4",),
    ),
)
# The pyramid of the draft from the top; each layer depends on those below.
PYRAMID = {
    "epsilon and unit": (1, 2, 3, 4, 5, 6, 7),
    "algorithms, utility, bias": (9, 10, 11, 12, 13, 14, 15, 16, 17),
    "query and threat model": (8, 18, 19, 20),
    "side channels, security, access": (21, 22, 23),
    "data collection": (24,),
}


def status(hazard: Hazard, findings: dict[str, Finding]) -> str:
    """Return the status of a hazard: REFUTED, open, answered, or ELSEWHERE."""
    if not hazard.checks:
        return ELSEWHERE
    statuses = [
        findings[check_id].status for check_id in hazard.checks if check_id in findings
    ]
    if Status.REFUTED in statuses:
        return "REFUTED"
    all_ran = len(statuses) == len(hazard.checks)
    all_passed = all(check_status is Status.PASSED for check_status in statuses)
    return "answered" if all_ran and all_passed else "open"


def table(findings: dict[str, Finding]) -> list[dict[str, object]]:
    """Return all hazards with their status in this audit."""
    return [
        {
            "n": hazard.number,
            "hazard": hazard.hazard,
            "answer": hazard.answer,
            "evidence": list(hazard.checks),
            "status": status(hazard, findings),
        }
        for hazard in HAZARDS
    ]


def pyramid(findings: dict[str, Finding]) -> dict[str, str]:
    """Return the worst status of each layer of the pyramid."""
    worst_first = ("REFUTED", "open", "answered", ELSEWHERE)
    statuses = {hazard.number: status(hazard, findings) for hazard in HAZARDS}
    return {
        layer: min((statuses[number] for number in numbers), key=worst_first.index)
        for layer, numbers in PYRAMID.items()
    }
