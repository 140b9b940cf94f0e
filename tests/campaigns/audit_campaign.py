"""False alarms on correct code: many audits with fresh noise, coins and bytes; how many refute."""

import hashlib
import secrets
import sys
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np

from tactful.audit.evidence.audit_case import AuditCase
from tactful.audit.finding import Status
from tactful.audit.run import CHECKS, run_check
from tactful.privacy.accountant import mu_for, sigma2_for
from tactful.privacy.discrete_gaussian import NoiseTable, draw
from tactful.privacy.mechanism import format_fraction
from tactful.protocol.documents.evidence import Canaries, Documents, Evidence, Residuals
from tactful.protocol.vector_encoding import Encoding
from tactful.vdaf.field64 import FIELD64

STATISTICAL = ("C2", "C3", "C5", "D1", "D2", "D3")
EPSILON, DELTA, LENGTH, COUNT = 3.0, 1e-6, 1024, 1000


def evidence(residuals: tuple[int, int, int] = (4, 2, 16_384)) -> Evidence:
    """What a correct pair would show, by the mechanism's own code, without sealing and sending."""
    encoding = Encoding(LENGTH, 14, 3, secrets.token_bytes(32))
    sigma2 = sigma2_for(encoding.norm_bound, mu_for(EPSILON, DELTA), 1.0)
    table = NoiseTable.of("rounded_gaussian", sigma2)
    noise = draw(table, int(np.prod(residuals))).reshape(residuals)
    rho = Fraction(encoding.norm_bound) / (2 * sigma2)
    opened = secrets.token_bytes(32)
    blank = Canaries(
        rho=format_fraction(rho),
        delta=DELTA,
        commitment=hashlib.sha256(opened).hexdigest(),
        opened=opened.hex(),
        scores=(0.0,) * COUNT,
    )
    flown = tuple(_scored(blank, encoding, table) for _ in range(2))
    total = draw(table, LENGTH)
    return Evidence(
        documents=Documents(canaries=flown),
        sums={hashlib.sha256(total.tobytes()).hexdigest(): total},
        residuals=Residuals(
            family="rounded_gaussian", sigma2=format_fraction(sigma2), values=noise
        ),
    )


def _scored(blank: Canaries, encoding: Encoding, table: NoiseTable) -> Canaries:
    sent = np.flatnonzero(blank.coins())
    vectors = np.zeros((len(sent), LENGTH))
    vectors[np.arange(len(sent)), sent] = 5.0
    total = encoding.encode(vectors, secrets.token_bytes).sum(axis=0, dtype=np.int64)
    noisy = FIELD64.to_integers(
        FIELD64.add(
            FIELD64.from_integers(total),
            FIELD64.from_integers(draw(table, encoding.padded)),
        )
    )
    scores = encoding.decode(noisy, len(sent))[:COUNT]
    return replace(blank, scores=tuple(float(score) for score in scores))


def alarms(audits: int, names: tuple[str, ...] = STATISTICAL) -> dict[str, int]:
    """How often each statistical check refuted correct code."""
    found = dict.fromkeys(names, 0)
    for number in range(audits):
        case = AuditCase(evidence())
        for check in CHECKS:
            if check.id in names:
                status, outcome = run_check(check, case)
                if status is Status.REFUTED:
                    found[check.id] += 1
                    print(f"audit {number}: {check.id}: {outcome.measured}", flush=True)
    return found


def main() -> int:
    audits, began = int(sys.argv[1]) if len(sys.argv) > 1 else 200, time.monotonic()
    found = alarms(audits)
    total, seconds = sum(found.values()), time.monotonic() - began
    print(
        f"{audits} audits of correct code, {total} false alarms: {found}; {seconds:.0f} s"
    )
    return 0 if total <= max(1, audits // 100) else 1


if __name__ == "__main__":
    sys.exit(main())
