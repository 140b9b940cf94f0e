"""Checks F: ledgers are complete, within their caps, and charged before reports."""

from __future__ import annotations

import base64
import binascii
from fractions import Fraction

from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    LedgerExport,
    require,
)
from tactful.audit.finding import EvidenceClass
from tactful.errors import BudgetExhausted
from tactful.privacy.budget import CARRIED, GENESIS, Charge, Ledger, chain, total
from tactful.privacy.lifetime import lifetime_spending
from tactful.privacy.mechanism import read_fraction
from tactful.protocol.signed_json import is_signed

SIGNED_AS = b"tactful-1 ledger"
# Reports of this purpose are empty and cost nothing.
COVER = "cover_traffic"


def verify_ledger_chains(case: AuditCase) -> CheckOutcome:
    """F1: every entry is in the hash chain, and the device signed the head."""
    count = 0
    for ledger in case.ledgers:
        hashes = chain(ledger.lines)
        head = hashes[-1] if hashes else GENESIS
        require(
            head == ledger.document.get("head"),
            f"{_name(ledger)}: an entry was changed, moved or removed",
        )
        require(
            _is_signed(ledger),
            f"{_name(ledger)}: it is not signed by the key that it names",
        )
        count += len(ledger.lines)
    return CheckOutcome(
        True, f"{len(case.ledgers)} ledgers, {count} entries, every head signed"
    )


def _is_signed(ledger: LedgerExport) -> bool:
    try:
        key = base64.b64decode(ledger.signed_by, validate=True)
        signature = base64.b64decode(str(ledger.document["signature"]), validate=True)
    except (binascii.Error, ValueError):
        return False
    return is_signed(SIGNED_AS + str(ledger.document["text"]).encode(), signature, key)


def compare_ledger_exports(case: AuditCase) -> CheckOutcome:
    """F2: the longer of two exports of a ledger begins with all of the shorter one."""
    longest: dict[str, LedgerExport] = {}
    compared = 0
    for ledger in case.ledgers:
        earlier = longest.get(ledger.ledger_id)
        if earlier is not None:
            _require_prefix(earlier, ledger)
            compared += 1
        if earlier is None or len(ledger.lines) > len(earlier.lines):
            longest[ledger.ledger_id] = ledger
        times = [charge.time for charge in ledger.charges]
        require(
            times == sorted(times),
            f"{_name(ledger)}: its charges are not in the order of time",
        )
    restored = sum(1 for ledger in case.ledgers if ledger.document.get("restored"))
    return CheckOutcome(
        True,
        f"{compared} pairs of exports compared, {restored} say that they were restored",
    )


def _require_prefix(first: LedgerExport, second: LedgerExport) -> None:
    shorter, longer = sorted((first, second), key=lambda ledger: len(ledger.lines))
    require(
        longer.lines[: len(shorter.lines)] == shorter.lines,
        f"{_name(first)}: a backup was restored, and entries were lost",
    )


def check_nothing_is_refunded(case: AuditCase) -> CheckOutcome:
    """F3: every step and every report that left has a charge in the ledger."""
    for ledger in case.ledgers:
        charged_reports = {charge.report_id for charge in ledger.charges}
        for step in ledger.steps:
            require(
                step.report_id in charged_reports,
                f"{_name(ledger)}: a step has no charge; the charge was refunded",
            )
        charged_tasks = {charge.task_id for charge in ledger.charges}
        for disclosure in ledger.disclosures:
            is_charged = str(disclosure.get("task_id")) in charged_tasks
            require(
                is_charged or disclosure.get("purpose") == COVER,
                f"{_name(ledger)}: a report that left has no charge; the charge was "
                "refunded",
            )
    return CheckOutcome(True, "every report and step has its charge")


def replay_budget_caps(case: AuditCase) -> CheckOutcome:
    """F4: after each charge, the spending is within the lifetime and purpose caps."""
    highest = Fraction(0)
    for ledger in case.ledgers:
        replayed = Ledger(
            _cap(ledger),
            caps=_purpose_caps(ledger, "purpose_caps"),
            zcdp_cap=_zcdp_cap(ledger),
            zcdp_caps=_purpose_caps(ledger, "zcdp_purpose_caps"),
        )
        for charge in ledger.charges:
            # The spending of a lost ledger happened under its own caps.
            if charge.purpose == CARRIED:
                replayed = replayed.recorded(charge)
                continue
            try:
                replayed = replayed.spend(charge)
            except BudgetExhausted as over:
                require(False, f"{_name(ledger)}: {over}")
        if replayed.cap:
            highest = max(highest, replayed.spent / replayed.cap)
    return CheckOutcome(True, f"at most {float(highest):.1%} of a cap is spent")


def check_one_charge_per_report(case: AuditCase) -> CheckOutcome:
    """F5: each report has its own charge, recorded before the report was sent."""
    reports = 0
    for ledger in case.ledgers:
        own_charges = [charge for charge in ledger.charges if charge.purpose != CARRIED]
        report_ids = {charge.report_id for charge in own_charges}
        require(
            len(report_ids) == len(own_charges),
            f"{_name(ledger)}: two charges name one report",
        )
        task_ids = {charge.task_id for charge in own_charges}
        require(
            len(task_ids) == len(own_charges),
            f"{_name(ledger)}: one task was charged twice",
        )
        _require_charge_before_step(ledger)
        charged = {(charge.task_id, charge.report_id) for charge in ledger.charges}
        for disclosure in ledger.disclosures:
            if disclosure.get("purpose") == COVER:
                continue
            ids = (str(disclosure.get("task_id")), str(disclosure.get("report_id")))
            require(ids in charged, f"{_name(ledger)}: a report left without a charge")
            reports += 1
    return CheckOutcome(True, f"{reports} reports, each charged once before it left")


def _require_charge_before_step(ledger: LedgerExport) -> None:
    charged: set[str] = set()
    for entry in ledger.entries:
        if isinstance(entry, Charge):
            charged.add(entry.report_id)
        else:
            require(
                entry.report_id in charged,
                f"{_name(ledger)}: a report was sent before its charge was recorded",
            )


def check_receipts_are_in_the_chain(case: AuditCase) -> CheckOutcome:
    """F6: a report that the device lists as accepted is acknowledged in the ledger."""
    receipts = 0
    for ledger in case.ledgers:
        acknowledged = {
            step.report_id for step in ledger.steps if step.state == "acknowledged"
        }
        for disclosure in ledger.disclosures:
            if disclosure.get("accepted") and disclosure.get("purpose") != COVER:
                require(
                    str(disclosure.get("report_id")) in acknowledged,
                    f"{_name(ledger)}: an accepted report is not acknowledged in the "
                    "chain",
                )
                receipts += 1
    return CheckOutcome(True, f"{receipts} receipts in the chain")


def recompute_lifetime_totals(case: AuditCase) -> CheckOutcome:
    """F7: rho by purpose adds up to the lifetime total; report the largest epsilon."""
    highest = 0.0
    for export in case.ledgers:
        ledger = Ledger(_cap(export), export.entries)
        latest = max((charge.time for charge in ledger.charges), default=0)
        spending = lifetime_spending(ledger, case.claim.delta, latest)
        by_purpose = sum((part.rho for part in spending.purposes.values()), Fraction(0))
        require(
            by_purpose == spending.whole.rho == total(export.charges),
            f"{_name(export)}: the totals by purpose do not add up",
        )
        highest = max(highest, spending.whole.epsilon)
    return CheckOutcome(
        True, f"at most epsilon {highest:.3f} since install", {"lifetime": highest}
    )


def _name(ledger: LedgerExport) -> str:
    return f"ledger {ledger.ledger_id[:8]}"


def _cap(ledger: LedgerExport) -> Fraction:
    return read_fraction("ledger.cap_rho", ledger.document.get("cap_rho"))


def _zcdp_cap(ledger: LedgerExport) -> Fraction | None:
    """Return the cap for noise of which only rho is proved; None in older exports."""
    cap = ledger.document.get("zcdp_cap_rho")
    return None if cap is None else read_fraction("ledger.zcdp_cap_rho", cap)


def _purpose_caps(ledger: LedgerExport, field: str) -> dict[str, Fraction]:
    caps = ledger.document.get(field)
    if not isinstance(caps, dict):
        return {}
    return {
        str(purpose): read_fraction(f"ledger.{field}.{purpose}", cap)
        for purpose, cap in caps.items()
    }


_PROVED = EvidenceClass.PROVED
CHECKS = (
    Check(
        id="F1",
        claim="the ledger's hash chain is complete and signed",
        evidence_class=_PROVED,
        run=verify_ledger_chains,
    ),
    Check(
        id="F2",
        claim="a ledger is append-only (without an anchor outside the device, a "
        "restored backup can stay undetected)",
        evidence_class=EvidenceClass.ASSUMED,
        run=compare_ledger_exports,
    ),
    Check(
        id="F3",
        claim="nothing is refunded",
        evidence_class=_PROVED,
        run=check_nothing_is_refunded,
    ),
    Check(
        id="F4",
        claim="the spending is within every cap after each charge",
        evidence_class=_PROVED,
        run=replay_budget_caps,
        hazards=(19,),
    ),
    Check(
        id="F5",
        claim="each report is charged once, before it is sent",
        evidence_class=_PROVED,
        run=check_one_charge_per_report,
    ),
    Check(
        id="F6",
        claim="receipts are in the hash chain",
        evidence_class=_PROVED,
        run=check_receipts_are_in_the_chain,
    ),
    Check(
        id="F7",
        claim="lifetime totals add up",
        evidence_class=_PROVED,
        run=recompute_lifetime_totals,
    ),
)
