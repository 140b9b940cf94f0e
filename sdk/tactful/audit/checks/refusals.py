"""Checks H: requests that the pair must refuse. Check I: the trust assumptions.

The answers come from a staging run of the same code.
"""

from __future__ import annotations

from collections.abc import Callable

from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    EvidenceMissing,
    require,
)
from tactful.audit.finding import EvidenceClass
from tactful.audit.trust_assumptions import VOID, scenarios
from tactful.protocol.documents.evidence import ObservedRefusal

# By check id: the claim, and the text that each answer must start with.
EXPECTED_ANSWERS = {
    "H1": ("a batch below its minimum is refused", "invalidBatchSize"),
    "H2": ("a task with less noise than its claim needs is refused", "taskRejected"),
    "H3": ("a batch collected twice gives the same bytes", ""),
    "H4": ("a report after its batch was collected is refused", "batch_collected"),
    "H5": (
        "a task for learned item vectors without a noisy batch is refused",
        "taskRejected",
    ),
    "H6": ("a vector that is not finite is refused", "invalidInput"),
}
# This check compares the answers with each other instead.
REPEATED_COLLECTION = "H3"


def refusal_check(check_id: str) -> Callable[[AuditCase], CheckOutcome]:
    """Return the function of the check that the pair gave the expected answers."""

    def run(case: AuditCase) -> CheckOutcome:
        refusals = [
            refusal
            for refusal in case.evidence.documents.refusals
            if refusal.check == check_id
        ]
        if not refusals:
            raise EvidenceMissing("answers of a staging pair to forbidden requests")
        for refusal in refusals:
            if check_id == REPEATED_COLLECTION:
                _require_equal_answers(refusal)
            else:
                _require_answers_start(refusal, EXPECTED_ANSWERS[check_id][1])
        answers = [
            f"{refusal.tried}: {refusal.answers[0][:60]}" for refusal in refusals
        ]
        return CheckOutcome(True, "; ".join(answers))

    return run


def _require_equal_answers(refusal: ObservedRefusal) -> None:
    require(
        len(refusal.answers) >= 2,
        f"{refusal.tried}: there is only one answer; collect the batch twice",
    )
    require(
        len(set(refusal.answers)) == 1,
        f"{refusal.tried}: the second collection gave other bytes",
    )


def _require_answers_start(refusal: ObservedRefusal, expected: str) -> None:
    for answer in refusal.answers:
        require(
            answer.startswith(expected),
            f"{refusal.tried}: the pair answered {answer!r} instead of {expected!r}",
        )


def list_trust_assumptions(case: AuditCase) -> CheckOutcome:
    """I: the assumption that the claim needs; the report lists all scenarios."""
    return CheckOutcome(
        True, f"{len(scenarios(case))} scenarios. {VOID[case.placement]}"
    )


CHECKS = (
    *(
        Check(
            id=check_id,
            claim=claim,
            evidence_class=EvidenceClass.PROVED,
            run=refusal_check(check_id),
        )
        for check_id, (claim, _) in EXPECTED_ANSWERS.items()
    ),
    Check(
        id="I",
        claim="the two operators do not collude; devices and kernels are sound",
        evidence_class=EvidenceClass.ASSUMED,
        run=list_trust_assumptions,
        slow=True,
        hazards=(20,),
    ),
)
