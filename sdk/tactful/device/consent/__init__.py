"""Consent: purposes, the chain of the person's answers, and other restrictions."""

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
