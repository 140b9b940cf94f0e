"""Report of an audit: a signed report.json, and the same content for people."""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tactful.audit.evidence.audit_case import AuditCase
from tactful.audit.finding import Finding, Status
from tactful.audit.report import nist, power
from tactful.audit.run import Audit, printable
from tactful.audit.trust_assumptions import AGAINST, VOID, scenarios, signer_lines
from tactful.errors import InvalidInput, TactfulError
from tactful.privacy.accountant import epsilon_for, mu_from_rho
from tactful.privacy.mechanism import format_fraction

SIGNED_AS = b"tactful-1 audit"
SCHEMA = 1
# Above this epsilon, the intuitive reading of the definition is weak.
MEANINGFUL = 1.0
LIMITS = (
    "It is assumed that devices and the kernel's randomness are sound, and that the "
    "installed code is the published code.",
    "Devices are not authenticated. Sybil devices can add bounded reports, but they do "
    "not weaken the guarantee of any other device.",
    "A person with k devices is a group of k, and has k times the rho.",
    "Canaries and residuals come from a staging pair. It is assumed that production "
    "runs the same code.",
    "The audit covers the evidence only. It cannot detect a log or a ledger that is "
    "not in the evidence.",
    "Attribute inference, LiRA and manipulated item tables (RAIFLE) are not tested.",
)


def document(audit: Audit) -> dict[str, object]:
    """Return the complete report as plain values (docs/spec/privacy.md 4.4)."""
    findings = {finding.id: finding for finding in audit.findings}
    statuses = {check_id: finding.status for check_id, finding in findings.items()}
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
        "checks": [_check(finding) for finding in audit.findings],
        "nist": nist.pyramid(findings),
        "hazards": nist.table(findings),
        "limits": [
            VOID[audit.case.placement],
            *LIMITS,
            *map(printable, signer_lines(audit.case)),
        ],
    }


def write(audit: Audit, out: Path, key: Path) -> dict[str, object]:
    """Write report.json (signed), report.md and report.html; return the document.

    The files go to the folder `out`. `key` is the file of the signing key; it is
    created if it does not exist.
    """
    from tactful.audit.report import html, markdown

    out.mkdir(parents=True, exist_ok=True)
    report = document(audit)
    signed_report = signed(report, _secret(key))
    (out / "report.json").write_text(json.dumps(signed_report, indent=1) + "\n")
    (out / "report.md").write_text(markdown.render(report))
    (out / "report.html").write_text(html.render(report, audit))
    return report


def signed(report: Mapping[str, object], secret: bytes) -> dict[str, object]:
    """Return the report with an Ed25519 signature over its canonical JSON."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signer = Ed25519PrivateKey.from_private_bytes(secret)
    body = _canonical(report)
    return {
        "report": report,
        "public_key": signer.public_key().public_bytes_raw().hex(),
        "signature": base64.b64encode(signer.sign(SIGNED_AS + body)).decode(),
    }


def verify(content: str, trusted: str = "") -> dict[str, object]:
    """Return the report in `content` after a check of its signature.

    Raise InvalidInput if the signature is not valid, or not by the public key `trusted`
    (hex; any key if it is empty).
    """
    from tactful.protocol.signed_json import is_signed

    try:
        outer = json.loads(content)
        report, public_key = outer["report"], str(outer["public_key"])
        body = SIGNED_AS + _canonical(report)
        signature = base64.b64decode(str(outer["signature"]))
        is_valid = is_signed(body, signature, bytes.fromhex(public_key))
    except (ValueError, KeyError, TypeError, RecursionError) as wrong:
        raise InvalidInput(
            "report",
            "it is not a signed report",
            "ask the auditor for report.json again",
        ) from wrong
    is_trusted = not trusted or trusted == public_key
    if not is_valid or not is_trusted or not isinstance(report, dict):
        raise InvalidInput(
            "report.signature",
            "it is not valid, or by another key",
            "ask the auditor for report.json again",
        )
    return report


def _canonical(report: object) -> bytes:
    return json.dumps(report, sort_keys=True, separators=(",", ":")).encode()


def _secret(path: Path) -> bytes:
    """Return the auditor's key from a file; create the file on first use.

    Only the owner can read a new file.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except (ValueError, UnicodeDecodeError):
        secret = b""
    if len(secret) != 32:
        raise InvalidInput(
            "--key", f"{path} does not contain 32 bytes in hex", "name another file"
        )
    return secret


def _claim(case: AuditCase) -> dict[str, object] | None:
    try:
        claim = case.claim
        events = [event.event() for event in case.events]
    except TactfulError:
        return None
    rho = case.events_rho
    mu = mu_from_rho(rho)
    fields = asdict(claim)
    claim_class = fields.pop("class_")
    return {
        **fields,
        "class": claim_class,
        "recomputed_rho": format_fraction(rho),
        "mu": mu,
        "epsilon_at_1e-5": epsilon_for(mu, 1e-5),
        "epsilon_replace_one": epsilon_for(2 * mu, claim.delta),
        "above_meaningful": claim.epsilon > MEANINGFUL,
        "events": events,
    }


def _upper(findings: Mapping[str, Finding]) -> dict[str, object]:
    figures = _figures(findings, "B2")
    if not figures:
        return {}
    spread = max(figures.values()) - min(figures.values())
    return {**figures, "spread": spread, "headline_class": findings["B2"].verdict}


def _lower(findings: Mapping[str, Finding]) -> dict[str, object]:
    figures = _figures(findings, "D1")
    if not figures:
        return {}
    assumptions = {
        "one_run": "none",
        "fdp": "a Gaussian trade-off curve",
        "gaussian": "Gaussian scores (tested by C2)",
    }
    return {**figures, "alpha": 0.001, "assumptions": assumptions}


def _figures(findings: Mapping[str, Finding], check_id: str) -> dict[str, float]:
    return dict(findings[check_id].figures) if check_id in findings else {}


def _ledger(findings: Mapping[str, Finding]) -> dict[str, object]:
    checks = {"spent": "F4", "lifetime": "F7", "whole": "F1"}
    return {
        name: findings[check_id].measured
        for name, check_id in checks.items()
        if check_id in findings
    }


def _scenarios(case: AuditCase) -> list[dict[str, str]]:
    try:
        rows = scenarios(case)
    except TactfulError:
        return []
    return [
        {"scenario": scenario, "epsilon": epsilon, "verdict": verdict}
        for scenario, epsilon, verdict in rows
    ]


def _check(finding: Finding) -> dict[str, object]:
    figures = {name: float(value) for name, value in finding.figures.items()}
    return {
        "id": finding.id,
        "status": str(finding.status),
        "class": str(finding.evidence_class),
        "verdict": finding.verdict,
        "claim": finding.claim,
        "measured": finding.measured,
        "figures": figures,
        "seconds": round(finding.seconds, 3),
        "hazards": list(finding.hazards),
    }


def _version() -> str:
    try:
        return version("tactful")
    except PackageNotFoundError:
        return "unknown"


def refuted(audit: Audit) -> list[Finding]:
    """Return the findings that refute the claim."""
    return [finding for finding in audit.findings if finding.status is Status.REFUTED]
