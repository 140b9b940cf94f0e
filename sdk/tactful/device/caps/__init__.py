"""How often the same thing may come back: rules, windows, reservations, fatigue, quiet hours."""

from tactful.device.caps.decisions import Decision, Denial, Impression, Pick
from tactful.device.caps.desk import Anchor
from tactful.device.caps.engine import CapEngine, Keeping, Prefiltered
from tactful.device.caps.judge import Room
from tactful.device.caps.reservations import Owner, Processes, SystemProcesses
from tactful.device.caps.rules import Rule, Rules
from tactful.device.caps.segments import Moment
from tactful.device.caps.things import Showable, Thing

__all__ = [
    "Anchor",
    "CapEngine",
    "Decision",
    "Denial",
    "Impression",
    "Keeping",
    "Moment",
    "Owner",
    "Pick",
    "Prefiltered",
    "Processes",
    "Room",
    "Rule",
    "Rules",
    "Showable",
    "SystemProcesses",
    "Thing",
]
