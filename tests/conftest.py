"""What every test may ask for: the shared vectors and data, and Hypothesis profiles."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

settings.register_profile(
    "ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("campaign", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the checkout with the drafts' vectors and the packed data sets."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(
            "no shared/ beside the checkout: the drafts' vectors and data sets are not here"
        )
    return folder


@pytest.fixture(autouse=True)
def _no_data_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test reads, it names: the folder of whoever runs it never changes the outcome."""
    monkeypatch.delenv("TACTFUL_DATA", raising=False)
