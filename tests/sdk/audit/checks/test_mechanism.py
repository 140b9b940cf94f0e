"""Residuals that cannot support the claim never pass."""

import numpy as np
import pytest

from tactful.audit.finding import Status
from tactful.protocol.documents.evidence import (
    Documents,
    Residuals,
)

from ..conftest import verdicts


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((2, 2, 8), dtype=np.int64),
        np.full((3, 2, 40_000), 10**6, dtype=np.int64),
        np.zeros((2, 2, 8)),
    ],
)
def test_residuals_that_are_too_few_or_too_large_or_floats_never_pass(
    values: np.ndarray,
) -> None:
    residuals = Residuals(family="rounded_gaussian", sigma2="10000/1", values=values)

    assert verdicts(Documents(), residuals=residuals)["C2"] is not Status.PASSED
