"""F: the devices' ledgers: whole, never above their cap, one charge before each report."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from fractions import Fraction

from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    ShownLedger,
    require,
)
from tactful.audit.finding import EvidenceClass
from tactful.errors import BudgetExhausted
from tactful.privacy.budget import CARRIED, Charge, Ledger, chain, total
from tactful.privacy.lifetime import lifetime_spending
from tactful.privacy.mechanism import read_fraction
from tactful.protocol.signed_json import is_signed

SIGNED_AS = b"tactful-1 ledger"
COVER = "cover_traffic"


def chained(case: AuditCase) -> CheckOutcome:
    """F1: every entry hashes into the head, and the device signed that head."""
    count = 0
    for ledger in case.ledgers:
        hashes = chain(ledger.lines)
        head = hashes[-1] if hashes else "0" * 64
        require(
            head == ledger.document.get("head"), "an entry was changed, moved or cut"
        )
        require(_signed(ledger), "the export is not signed by the key it names")
        count += len(ledger.lines)
    return CheckOutcome(
        True, f"{len(case.ledgers)} ledgers, {count} entries, every head signed"
    )


def _signed(ledger: ShownLedger) -> bool:
    try:
        key = base64.b64decode(ledger.signed_by, validate=True)
        signature = base64.b64decode(str(ledger.document["signature"]), validate=True)
    except (binascii.Error, ValueError):
        return False
    return is_signed(SIGNED_AS + str(ledger.document["text"]).encode(), signature, key)


def monotone(case: AuditCase) -> CheckOutcome:
    """F2: two exports of one ledger: the later begins with the earlier; nothing was put back."""
    seen: dict[str, ShownLedger] = {}
    compared = 0
    for ledger in case.ledgers:
        name = str(ledger.document.get("ledger"))
        if name in seen:
            short, long = sorted((seen[name], ledger), key=lambda one: len(one.lines))
            require(
                long.lines[: len(short.lines)] == short.lines,
                f"ledger {name[:8]}: it was put back to an earlier state and went on otherwise",
            )
            compared += 1
        if name not in seen or len(ledger.lines) > len(seen[name].lines):
            seen[name] = ledger
        times = [entry.time for entry in ledger.charges]
        require(
            times == sorted(times),
            f"ledger {name[:8]}: charges are not in order of time",
        )
    restored = sum(1 for ledger in case.ledgers if ledger.document.get("restored"))
    return CheckOutcome(
        True,
        f"{compared} pairs of exports compared, {restored} say that they were restored",
    )


def spent(case: AuditCase) -> CheckOutcome:
    """F3: nothing is refunded: entries only charge, or tell what became of a charged report."""
    for ledger in case.ledgers:
        charged = {charge.report_id for charge in ledger.charges}
        for step in ledger.steps:
            require(
                step.report_id in charged,
                "a step belongs to no charge: it was refunded",
            )
        paid = {charge.task_id for charge in ledger.charges}
        for one in ledger.disclosures:
            require(
                str(one.get("task_id")) in paid or one.get("purpose") == COVER,
                "a report left, but its charge is gone: it was refunded",
            )
    return CheckOutcome(True, "no charge is gone, no report without its charge")


def filtered(case: AuditCase) -> CheckOutcome:
    """F4: at every step the charges so far stay within the caps, whole and by purpose."""
    most = Fraction(0)
    for ledger in case.ledgers:
        filling = Ledger(
            _cap(ledger),
            caps=_caps(ledger, "purpose_caps"),
            zcdp_cap=_zcdp_cap(ledger),
            zcdp_caps=_caps(ledger, "zcdp_purpose_caps"),
        )
        for charge in ledger.charges:
            if charge.purpose == CARRIED:
                filling = filling.recorded(
                    charge
                )  # what a lost ledger spent is not asked again
                continue
            try:
                filling = filling.spend(charge)
            except BudgetExhausted as over:
                require(False, str(over))
        if filling.cap:
            most = max(most, filling.spent / filling.cap)
    return CheckOutcome(True, f"at most {float(most):.1%} of a cap is spent")


def one_charge_each(case: AuditCase) -> CheckOutcome:
    """F5: each report has one charge of its own, entered before it was sent."""
    reports = 0
    for ledger in case.ledgers:
        ids = [
            charge.report_id for charge in ledger.charges if charge.purpose != CARRIED
        ]
        require(len(set(ids)) == len(ids), "two charges name one report")
        tasks = [
            charge.task_id for charge in ledger.charges if charge.purpose != CARRIED
        ]
        require(len(set(tasks)) == len(tasks), "one task was charged twice")
        _in_order(ledger)
        charged = {(charge.task_id, charge.report_id) for charge in ledger.charges}
        for one in ledger.disclosures:
            if one.get("purpose") != COVER:
                pair = (str(one.get("task_id")), str(one.get("report_id")))
                require(pair in charged, "a report left that was not charged")
                reports += 1
    return CheckOutcome(True, f"{reports} reports, each charged once, before it left")


def _in_order(ledger: ShownLedger) -> None:
    known: set[str] = set()
    for entry in ledger.entries:
        if isinstance(entry, Charge):
            known.add(entry.report_id)
        else:
            require(
                entry.report_id in known,
                "a report was sent before its charge was entered",
            )


def receipts(case: AuditCase) -> CheckOutcome:
    """F6: a report that the device calls accepted is one whose ledger says acknowledged."""
    accepted = 0
    for ledger in case.ledgers:
        acknowledged = {
            step.report_id for step in ledger.steps if step.state == "acknowledged"
        }
        for one in ledger.disclosures:
            if one.get("accepted") and one.get("purpose") != COVER:
                require(
                    str(one.get("report_id")) in acknowledged,
                    "a receipt is not in the chain",
                )
                accepted += 1
    return CheckOutcome(True, f"{accepted} receipts in the chain")


def lifetimes(case: AuditCase) -> CheckOutcome:
    """F7: totals recomputed: rho by purpose adds to the whole; what it reads as."""
    worst = 0.0
    for ledger in case.ledgers:
        filled = Ledger(_cap(ledger), ledger.entries)
        seen = lifetime_spending(
            filled, case.claim.delta, max((c.time for c in filled.charges), default=0)
        )
        by_purpose = sum((part.rho for part in seen.purposes.values()), Fraction(0))
        require(
            by_purpose == seen.whole.rho == total(ledger.charges),
            "totals do not add up",
        )
        worst = max(worst, seen.whole.epsilon)
    return CheckOutcome(
        True, f"at most epsilon {worst:.3f} since install", {"lifetime": worst}
    )


def _cap(ledger: ShownLedger) -> Fraction:
    return read_fraction("ledger.cap_rho", ledger.document.get("cap_rho"))


def _zcdp_cap(ledger: ShownLedger) -> Fraction | None:
    """Return the cap for noise of which only rho is proved; None in an older export."""
    cap = ledger.document.get("zcdp_cap_rho")
    return None if cap is None else read_fraction("ledger.zcdp_cap_rho", cap)


def _caps(ledger: ShownLedger, field: str) -> dict[str, Fraction]:
    return dict(_purpose_caps(ledger, field))


def _purpose_caps(ledger: ShownLedger, field: str) -> Iterator[tuple[str, Fraction]]:
    caps = ledger.document.get(field)
    for purpose, cap in caps.items() if isinstance(caps, dict) else ():
        yield str(purpose), read_fraction(f"ledger.{field}.{purpose}", cap)


_PROVED = EvidenceClass.PROVED
CHECKS = (
    Check(
        id="F1",
        claim="the ledger's chain is whole and signed",
        ground=_PROVED,
        run=chained,
    ),
    Check(
        id="F2",
        claim="a ledger only grows; without an outside anchor a restored backup stays unseen",
        ground=EvidenceClass.ASSUMED,
        run=monotone,
    ),
    Check(id="F3", claim="nothing is refunded", ground=_PROVED, run=spent),
    Check(
        id="F4",
        claim="spent stays within every cap at every step",
        ground=_PROVED,
        run=filtered,
        hazards=(19,),
    ),
    Check(
        id="F5",
        claim="each report is charged once, before it is sent",
        ground=_PROVED,
        run=one_charge_each,
    ),
    Check(id="F6", claim="receipts are in the chain", ground=_PROVED, run=receipts),
    Check(id="F7", claim="lifetime totals add up", ground=_PROVED, run=lifetimes),
)
