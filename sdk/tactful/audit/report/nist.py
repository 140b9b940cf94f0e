"""NIST SP 800-226, initial public draft (December 2023): its hazards, in our words, and answers.

The final version (March 2025) is to be compared before anything is quoted from here.
"""

from __future__ import annotations

from dataclasses import dataclass

from tactful.audit.finding import Finding, Status


@dataclass(frozen=True)
class Hazard:
    """One hazard, what is done about it, and the checks that are evidence of it."""

    number: int
    hazard: str
    answer: str
    checks: tuple[str, ...] = ()


ELSEWHERE = "outside this audit"
HAZARDS = (
    Hazard(
        1,
        "a large epsilon may mean nothing",
        "printed; above 1 it is flagged",
        ("B2", "D1"),
    ),
    Hazard(
        2,
        "(epsilon, delta) composes badly",
        "rho is stored and added as fractions",
        ("B3",),
    ),
    Hazard(3, "harm outside the unit", "the unit is named, with its limits", ("A1",)),
    Hazard(
        4,
        "event-level units do not protect people",
        "the unit is a device for life",
        ("A1",),
    ),
    Hazard(
        5, "different deltas mislead", "one delta; epsilon at 1e-5 beside it", ("A5",)
    ),
    Hazard(
        6, "different units mislead", "units are types and never converted", ("A1",)
    ),
    Hazard(
        7,
        "a large delta is no privacy",
        "at most a tenth of one device's share",
        ("A5",),
    ),
    Hazard(
        8, "other releases beside it", "a closed world of what leaves", ("A7", "E1")
    ),
    Hazard(
        9,
        "home-made code",
        "exact tables, vectors, two other libraries",
        ("B1", "C2", "C3", "C4"),
    ),
    Hazard(
        10,
        "systemic bias is magnified",
        "utility by group size, in the lab's evaluation",
    ),
    Hazard(
        11, "fixes have side effects", "each correction with and without, in the lab"
    ),
    Hazard(12, "statistical bias", "rounding is unbiased; clipping is reported"),
    Hazard(13, "bounding contributions costs", "the lab reports what the clip loses"),
    Hazard(
        14,
        "bins must be fixed beforehand",
        "the catalogue is in the signed task",
        ("A8", "H5"),
    ),
    Hazard(
        15,
        "learning is not private by itself",
        "only noisy sums are learnt from",
        ("A7",),
    ),
    Hazard(16, "synthetic data can be attacked", "none is released"),
    Hazard(17, "deep private synthesis is weak", "none is released"),
    Hazard(
        18,
        "the unit of unstructured data is unclear",
        "declared events only",
        ("E1", "E4"),
    ),
    Hazard(
        19,
        "interactive queries",
        "tasks are fixed; the filter is on the device",
        ("A8", "F4"),
    ),
    Hazard(
        20,
        "trust must be real",
        "two named operators; both together: no claim, said first",
        ("I",),
    ),
    Hazard(21, "side channels", "constant size and steps", ("C5", "E2")),
    Hazard(
        22,
        "security failures void it",
        "sealed, signed, logged",
        ("G1", "G2", "G3", "G6"),
    ),
    Hazard(
        23,
        "access failures void it",
        "raw reports are dropped after the batch",
        ("G1", "H1"),
    ),
    Hazard(24, "no licence to collect", "raw events never leave", ("E4",)),
)
# the draft's pyramid, top down: each layer rests on those below
PYRAMID = {
    "epsilon and unit": (1, 2, 3, 4, 5, 6, 7),
    "algorithms, utility, bias": (9, 10, 11, 12, 13, 14, 15, 16, 17),
    "query and threat model": (8, 18, 19, 20),
    "side channels, security, access": (21, 22, 23),
    "data collection": (24,),
}


def status(hazard: Hazard, findings: dict[str, Finding]) -> str:
    """How this audit leaves a hazard: refuted, open, answered, or for somebody else."""
    if not hazard.checks:
        return ELSEWHERE
    found = [findings[name].status for name in hazard.checks if name in findings]
    if Status.REFUTED in found:
        return "REFUTED"
    whole = len(found) == len(hazard.checks) and all(
        one is Status.PASSED for one in found
    )
    return "answered" if whole else "open"


def table(findings: dict[str, Finding]) -> list[dict[str, object]]:
    """All hazards with their status in this audit."""
    return [
        {
            "n": one.number,
            "hazard": one.hazard,
            "answer": one.answer,
            "evidence": list(one.checks),
            "status": status(one, findings),
        }
        for one in HAZARDS
    ]


def pyramid(findings: dict[str, Finding]) -> dict[str, str]:
    """The worst status of each layer."""
    worst = ("REFUTED", "open", "answered", ELSEWHERE)
    statuses = {one.number: status(one, findings) for one in HAZARDS}
    return {
        layer: min((statuses[n] for n in numbers), key=worst.index)
        for layer, numbers in PYRAMID.items()
    }
