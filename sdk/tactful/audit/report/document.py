"""What an audit leaves behind: a signed report.json, and the same for people."""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tactful.audit.evidence.audit_case import AuditCase
from tactful.audit.finding import Finding, Status
from tactful.audit.report import nist, power
from tactful.audit.run import Audit, printable
from tactful.audit.trust_assumptions import AGAINST, VOID, scenarios, trusted
from tactful.errors import InvalidInput, TactfulError
from tactful.privacy.accountant import epsilon_for, mu_from_rho
from tactful.privacy.mechanism import format_fraction

SIGNED_AS = b"tactful-1 audit"
SCHEMA = 1
MEANINGFUL = 1.0  # epsilon; above it the plain reading of the definition is weak
LIMITS = (
    "Devices and the kernel's randomness are sound; the installed code is the published code.",
    "Devices are not authenticated: sybils add bounded reports, and weaken nobody's guarantee.",
    "A person with k devices is a group of k, and has k times the rho.",
    "Canaries and residuals come from a staging pair; production is what runs the same code.",
    "Evidence shows what it shows: a log or ledger that was never handed over is not seen.",
    "Attribute inference, LiRA and manipulated item tables (RAIFLE) are not run here.",
)


def document(audit: Audit) -> dict[str, object]:
    """The whole report as plain values (design/privacy.md 4.4)."""
    findings = {one.id: one for one in audit.findings}
    statuses = {name: one.status for name, one in findings.items()}
    return {
        "schema": SCHEMA,
        "tool": {"tactful": _version()},
        "depth": "full" if audit.full else "quick",
        "exit": audit.status,
        "evidence_by": audit.case.evidence.made_by,
        "threat_model": AGAINST[audit.case.placement],
        "claim": _claim(audit.case),
        "upper": _upper(findings),
        "lower": _lower(findings),
        "power": [asdict(row) for row in power.table(audit.case, statuses)],
        "ledger": _ledger(findings),
        "scenarios": _scenarios(audit.case),
        "checks": [_check(one) for one in audit.findings],
        "nist": nist.pyramid(findings),
        "hazards": nist.table(findings),
        "limits": [
            VOID[audit.case.placement],
            *LIMITS,
            *map(printable, trusted(audit.case)),
        ],
    }


def write(audit: Audit, out: Path, key: Path) -> dict[str, object]:
    """Write report.json (signed), report.md and report.html to `out`; returns the document."""
    from tactful.audit.report.html import render
    from tactful.audit.report.markdown import render as told

    out.mkdir(parents=True, exist_ok=True)
    report = document(audit)
    (out / "report.json").write_text(
        json.dumps(signed(report, _secret(key)), indent=1) + "\n"
    )
    (out / "report.md").write_text(told(report))
    (out / "report.html").write_text(render(report, audit))
    return report


def signed(report: Mapping[str, object], secret: bytes) -> dict[str, object]:
    """The report with an Ed25519 signature over its one form."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signer = Ed25519PrivateKey.from_private_bytes(secret)
    body = json.dumps(report, sort_keys=True, separators=(",", ":"))
    return {
        "report": report,
        "public_key": signer.public_key().public_bytes_raw().hex(),
        "signature": base64.b64encode(signer.sign(SIGNED_AS + body.encode())).decode(),
    }


def verify(content: str, trusted: str = "") -> dict[str, object]:
    """The report in `content`; raises InvalidInput unless its signature, by `trusted`, holds."""
    from tactful.protocol.signed_json import is_signed

    try:
        outer = json.loads(content)
        report, public = outer["report"], str(outer["public_key"])
        body = json.dumps(report, sort_keys=True, separators=(",", ":")).encode()
        signature = base64.b64decode(str(outer["signature"]))
        holds = is_signed(SIGNED_AS + body, signature, bytes.fromhex(public))
    except (ValueError, KeyError, TypeError, RecursionError) as wrong:
        raise InvalidInput(
            "report", "it is no signed report", "ask the auditor for it"
        ) from wrong
    if not holds or (trusted and trusted != public) or not isinstance(report, dict):
        raise InvalidInput(
            "report.signature", "it does not hold", "ask the auditor for it"
        )
    return report


def _secret(path: Path) -> bytes:
    """The auditor's key in a file readable by its owner alone, made on first use."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except (ValueError, UnicodeDecodeError):
        secret = b""
    if len(secret) != 32:
        raise InvalidInput(
            "--key", f"{path} does not hold 32 bytes in hex", "name another file"
        )
    return secret


def _claim(case: AuditCase) -> dict[str, object] | None:
    try:
        claim = case.claim
        events = [event.event() for event in case.events]
    except TactfulError:
        return None
    rho = sum((event.rho for event in case.events), Fraction(0))
    mu = mu_from_rho(rho)
    return {
        **{name: value for name, value in asdict(claim).items() if name != "class_"},
        "class": claim.class_,
        "recomputed_rho": format_fraction(rho),
        "mu": mu,
        "epsilon_at_1e-5": epsilon_for(mu, 1e-5),
        "epsilon_replace_one": epsilon_for(2 * mu, claim.delta),
        "above_meaningful": claim.epsilon > MEANINGFUL,
        "events": events,
    }


def _upper(findings: Mapping[str, Finding]) -> dict[str, object]:
    figures = dict(findings["B2"].figures) if "B2" in findings else {}
    if not figures:
        return {}
    spread = max(figures.values()) - min(figures.values())
    return {**figures, "spread": spread, "headline_class": findings["B2"].verdict}


def _lower(findings: Mapping[str, Finding]) -> dict[str, object]:
    figures = dict(findings["D1"].figures) if "D1" in findings else {}
    assumptions = {
        "one_run": "none",
        "fdp": "a Gaussian trade-off curve",
        "gaussian": "Gaussian scores (C2 guards)",
    }
    return {**figures, "alpha": 0.001, "assumptions": assumptions} if figures else {}


def _ledger(findings: Mapping[str, Finding]) -> dict[str, object]:
    return {
        name: findings[check].measured
        for name, check in (("spent", "F4"), ("lifetime", "F7"), ("whole", "F1"))
        if check in findings
    }


def _scenarios(case: AuditCase) -> list[dict[str, str]]:
    try:
        rows = scenarios(case)
    except TactfulError:
        return []
    return [
        {"scenario": who, "epsilon": cost, "verdict": told} for who, cost, told in rows
    ]


def _check(one: Finding) -> dict[str, object]:
    return {
        "id": one.id,
        "status": str(one.status),
        "class": str(one.ground),
        "verdict": one.verdict,
        "claim": one.claim,
        "measured": one.measured,
        "figures": {name: float(value) for name, value in one.figures.items()},
        "seconds": round(one.seconds, 3),
        "hazards": list(one.hazards),
    }


def _version() -> str:
    try:
        return version("tactful")
    except PackageNotFoundError:
        return "unknown"


def refuted(audit: Audit) -> list[Finding]:
    """The findings that speak against the claim."""
    return [one for one in audit.findings if one.status is Status.REFUTED]
