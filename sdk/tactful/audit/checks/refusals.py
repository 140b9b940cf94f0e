"""H: what the running pair refused, as it answered a staging run; I: who is trusted for what."""

from __future__ import annotations

from collections.abc import Callable

from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    NotShown,
    require,
)
from tactful.audit.finding import EvidenceClass
from tactful.audit.trust_assumptions import VOID, scenarios

# what each answer must begin with; H3 asks for two equal answers
ASKED = {
    "H1": ("a batch below its minimum is refused", "invalidBatchSize"),
    "H2": ("a task with less noise than its claim needs is refused", "taskRejected"),
    "H3": ("a batch collected twice gives the same bytes", ""),
    "H4": ("a report after its batch was collected is refused", "batch_collected"),
    "H5": ("a learned item head outside a noisy batch is refused", "taskRejected"),
    "H6": ("a vector that is not finite is refused", "invalidInput"),
}


def refused(check: str) -> Callable[[AuditCase], CheckOutcome]:
    """The check that the pair refused what `check` names."""

    def run(case: AuditCase) -> CheckOutcome:
        shown = [one for one in case.evidence.documents.refusals if one.check == check]
        if not shown:
            raise NotShown("the pair was not asked")
        for one in shown:
            if check == "H3":
                require(len(one.answers) >= 2, "it was asked once only")
                require(
                    len(set(one.answers)) == 1, "a repeated collection gave other bytes"
                )
                continue
            expected = ASKED[check][1]
            for answer in one.answers:
                require(
                    answer.startswith(expected),
                    f"{one.tried}: the pair answered {answer!r}",
                )
        return CheckOutcome(
            True, "; ".join(f"{one.tried}: {one.answers[0][:60]}" for one in shown)
        )

    return run


def listed(case: AuditCase) -> CheckOutcome:
    """I: the claim under each scenario; the one that voids it is said first in the report."""
    return CheckOutcome(
        True, f"{len(scenarios(case))} scenarios. {VOID[case.placement]}"
    )


CHECKS = (
    *(
        Check(id=name, claim=claim, ground=EvidenceClass.PROVED, run=refused(name))
        for name, (claim, _) in ASKED.items()
    ),
    Check(
        id="I",
        claim="the two operators do not collude; devices and kernels are sound",
        ground=EvidenceClass.ASSUMED,
        run=listed,
        slow=True,
        hazards=(20,),
    ),
)
