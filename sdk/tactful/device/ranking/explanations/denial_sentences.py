"""What holds an item back, as sentences for the person, in the languages they may read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from tactful.device.caps import Denial
from tactful.device.ranking.explanations.reasons import Language

WEEKDAYS: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ),
    "de": (
        "Montag",
        "Dienstag",
        "Mittwoch",
        "Donnerstag",
        "Freitag",
        "Samstag",
        "Sonntag",
    ),
}
MONTHS: Mapping[Language, tuple[str, ...]] = {
    "en": (
        *("January", "February", "March", "April", "May", "June", "July"),
        *("August", "September", "October", "November", "December"),
    ),
    "de": (
        *("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli"),
        *("August", "September", "Oktober", "November", "Dezember"),
    ),
}
HELD: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "held": "It is held back.",
        "counted": "You have seen it {times} lately; more than {most} is too much.",
        "restored": "Data of this app was lost or put back from a backup, "
        "so that it is shown less often for now.",
        "often": "You have seen it often lately.",
        "rests": "You have seen it often lately; it rests until {until}.",
        "own": "You set this limit.",
        "until": "It can return on {until}.",
        "date": "{weekday}, {day} {month}, {hour:02}:{minute:02} UTC",
        "owned": "You have it already, or said that you do not like it.",
        "worn": "You saw it lately, so others go first; it stands at place {place} of your list.",
        "free": "Nothing holds it back; it stands at place {place} of your list.",
    },
    "de": {
        "held": "Es wird zurückgehalten.",
        "counted": "Du hast es in letzter Zeit {times} gesehen; mehr als {most} ist zu viel.",
        "restored": "Daten dieser App gingen verloren oder kamen aus einer Sicherung zurück, "
        "deshalb wird es vorerst seltener gezeigt.",
        "often": "Du hast es in letzter Zeit oft gesehen.",
        "rests": "Du hast es in letzter Zeit oft gesehen; es ruht bis {until}.",
        "own": "Diese Grenze hast du gesetzt.",
        "until": "Es kann wiederkommen am {until}.",
        "date": "{weekday}, {day}. {month}, {hour:02}:{minute:02} Uhr UTC",
        "owned": "Du hast es schon oder magst es nicht.",
        "worn": "Du hast es kürzlich gesehen, andere gehen vor; es steht auf Platz {place}.",
        "free": "Nichts hält es zurück; es steht auf Platz {place} deiner Liste.",
    },
}


def held_back(denial: Denial, language: Language = "en") -> str:
    """One denial for the person: what was counted, who set the limit, until when."""
    words, until = HELD[language], denial.next_allowed_at
    own = [words["own"]] if denial.author == "user" else []
    if (
        denial.window == "decay" and not denial.restored
    ):  # its count is a measure of wear, no number of times
        name = "often" if until is None else "rests"
        rest = "" if until is None else moment(until, language)
        return " ".join([words[name].format(until=rest), *own])
    sentences = [words["restored"] if denial.restored else words["held"]]
    if not denial.restored and denial.used is not None and denial.limit is not None:
        times, most = (
            _times(number, language) for number in (denial.used, denial.limit)
        )
        sentences = [words["counted"].format(times=times, most=most)]
    if until is not None:
        own = [*own, words["until"].format(until=moment(until, language))]
    return " ".join([*sentences, *own])


def moment(when: datetime, language: Language) -> str:
    """A moment with its weekday and month named, whatever locale the process has."""
    return HELD[language]["date"].format(
        weekday=WEEKDAYS[language][when.weekday()],
        day=when.day,
        month=MONTHS[language][when.month - 1],
        hour=when.hour,
        minute=when.minute,
    )


def _times(number: float, language: Language) -> str:
    if language == "de":
        return f"{number:g}-mal"
    return "once" if number == 1 else f"{number:g} times"
