"""Evidence that the audit tests share."""

from pathlib import Path

import numpy as np
import pytest

from tactful.audit.evidence.audit_case import AuditCase
from tactful.audit.finding import Status
from tactful.audit.run import CHECKS, run_check
from tactful.protocol.documents import evidence as shown
from tactful.protocol.documents.evidence import (
    Documents,
    Evidence,
    ObservedRefusal,
    OperatorClaim,
    PublishedKeys,
    Residuals,
)

# Checks of this installation; they do not read evidence.
LIVE = {"A9", "B1", "C3", "C5", "C6", "E5"}
SECRET = bytes(range(32))
CLAIM = OperatorClaim(
    model="films",
    epsilon=3.0,
    delta=1e-6,
    rho="1/5",
    unit="device",
    adjacency="zero_out",
    eligible=100,
)
WHOLE = Evidence(
    documents=Documents(
        claim=CLAIM,
        keys=PublishedKeys(leader="AA==", helper="AA=="),
        refusals=(
            ObservedRefusal(
                check="H1", tried="x", answers=("invalidBatchSize: 3 of 4",)
            ),
        ),
    ),
    sums={"ab": np.arange(8, dtype=np.int64)},
    residuals=Residuals(
        family="rounded_gaussian",
        sigma2="4/1",
        values=np.zeros((2, 2, 8), dtype=np.int64),
    ),
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    shown.write(tmp_path / "bundle", WHOLE, SECRET)
    return tmp_path / "bundle"


def verdicts(documents: Documents, **more: object) -> dict[str, Status]:
    """Return the status of each check that reads evidence."""
    case = AuditCase(Evidence(documents=documents, **more))
    return {one.id: run_check(one, case)[0] for one in CHECKS if one.id not in LIVE}
