"""What the person agreed to: purposes, the chain of answers, and who else may say no."""

from tactful.device.consent.purposes import NEEDS, PURPOSES, Consent
from tactful.device.consent.records import (
    ConsentAnswers,
    ConsentNotice,
    ConsentRecord,
    Occasion,
)
from tactful.device.consent.resolver import (
    NOBODY,
    ConsentDecision,
    Restrictions,
    effective,
    resolve,
)

__all__ = [
    "NEEDS",
    "NOBODY",
    "PURPOSES",
    "Consent",
    "ConsentAnswers",
    "ConsentDecision",
    "ConsentNotice",
    "ConsentRecord",
    "Occasion",
    "Restrictions",
    "effective",
    "resolve",
]
