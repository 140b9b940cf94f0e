"""What the person agreed to: purposes, the chain of answers, and who else may say no."""

from tactful.device.consent.purposes import NEEDS, PURPOSES, Consent
from tactful.device.consent.records import Answers, ConsentRecord, Occasion, Shown
from tactful.device.consent.resolver import NOBODY, Restrictions, Verdict, effective, resolve

__all__ = [
    "NEEDS",
    "NOBODY",
    "PURPOSES",
    "Answers",
    "Consent",
    "ConsentRecord",
    "Occasion",
    "Restrictions",
    "Shown",
    "Verdict",
    "effective",
    "resolve",
]
