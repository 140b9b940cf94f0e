"""Frequency caps: rules, windows, reservations, fatigue and quiet hours."""

from tactful.device.caps.counting.reservations import Owner, Processes, SystemProcesses
from tactful.device.caps.deciding.results import (
    Decision,
    Denial,
    GrantedItem,
    Impression,
)
from tactful.device.caps.deciding.rule_evaluator import Allowance
from tactful.device.caps.engine import CapEngine, Counting, Prefiltered
from tactful.device.caps.rules.model import Rule, Rules
from tactful.device.caps.rules.subject import CapSubject, Showable
from tactful.device.caps.session import TimeAnchor
from tactful.device.caps.timeline.segments import Moment

__all__ = [
    "Allowance",
    "CapEngine",
    "CapSubject",
    "Counting",
    "Decision",
    "Denial",
    "GrantedItem",
    "Impression",
    "Moment",
    "Owner",
    "Prefiltered",
    "Processes",
    "Rule",
    "Rules",
    "Showable",
    "SystemProcesses",
    "TimeAnchor",
]
