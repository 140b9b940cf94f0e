"""H: what the running pair refused, as it answered a staging run; I: who is trusted for what."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from tactful.audit.case import Case, Check, NotShown, Outcome, require
from tactful.audit.finding import EvidenceClass
from tactful.privacy.accountant import epsilon_for, mu_from_rho
from tactful.privacy.shares import epsilon_missing

# what each answer must begin with; H3 asks for two equal answers
ASKED = {
    "H1": ("a batch below its minimum is refused", "invalidBatchSize"),
    "H2": ("a task with less noise than its claim needs is refused", "taskRejected"),
    "H3": ("a batch collected twice gives the same bytes", ""),
    "H4": ("a report after its batch was collected is refused", "batch_collected"),
    "H5": ("a learned item head outside a noisy batch is refused", "taskRejected"),
    "H6": ("a vector that is not finite is refused", "invalidInput"),
}


def refused(check: str) -> Callable[[Case], Outcome]:
    """The check that the pair refused what `check` names."""

    def run(case: Case) -> Outcome:
        shown = [one for one in case.evidence.documents.refusals if one.check == check]
        if not shown:
            raise NotShown("the pair was not asked")
        for one in shown:
            if check == "H3":
                require(len(one.answers) >= 2, "it was asked once only")
                require(len(set(one.answers)) == 1, "a repeated collection gave other bytes")
                continue
            expected = ASKED[check][1]
            for answer in one.answers:
                require(answer.startswith(expected), f"{one.tried}: the pair answered {answer!r}")
        return Outcome(True, "; ".join(f"{one.tried}: {one.answers[0][:60]}" for one in shown))

    return run


def scenarios(case: Case) -> list[tuple[str, str, str]]:
    """(who misbehaves, epsilon, verdict) for the claimed releases."""
    rho = sum((event.rho for event in case.events), Fraction(0))
    mu, delta = mu_from_rho(rho), case.claim.delta
    claimed, twice = epsilon_for(mu, delta), epsilon_for(2 * mu, delta)
    both = epsilon_for(mu_from_rho(rho / 2), delta)
    missing = ", ".join(
        f"{epsilon_missing(rho, delta, part):.2f}" for part in (Fraction(1, 10), Fraction(1, 2))
    )
    return [
        ("nobody: both halves add noise", f"{both:.3f}", "holds with room"),
        ("one half adds no noise, or tells it", f"{claimed:.3f}", "holds: one is counted"),
        ("devices drop out", f"{claimed:.3f}", "holds: no device adds noise that is counted"),
        ("any number of devices are malicious", f"{claimed:.3f}", "holds for the others"),
        ("a device's reports are replaced, not zeroed", f"{twice:.3f}", "holds at that epsilon"),
        ("10 % or half of one half's variance is missing", missing, "C2 would see it"),
        ("sybils join", f"{claimed:.3f}", "holds; the model may be spoilt"),
        ("one half alters the item table", "-", "refused: both sign the task (A8)"),
        ("a device's storage is reset", f"{claimed:.3f} again", "after the trust period (F2)"),
        ("leader and helper collude", "none", "no claim: they see every report"),
    ]


def listed(case: Case) -> Outcome:
    """I: the claim under each scenario; the one that voids it is said first in the report."""
    return Outcome(True, f"{len(scenarios(case))} scenarios; leader and helper together: no claim")


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
