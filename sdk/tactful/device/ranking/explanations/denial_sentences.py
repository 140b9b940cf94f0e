"""Sentences for the person about why an item is not shown, in English and German."""

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
DENIAL_TEXTS: Mapping[Language, Mapping[str, str]] = {
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


def denial_sentence(denial: Denial, language: Language = "en") -> str:
    """Return one denial for the person: its count, its author, and its end."""
    texts = DENIAL_TEXTS[language]
    until = denial.next_allowed_at
    author = [texts["own"]] if denial.author == "user" else []
    if denial.window == "decay" and not denial.restored:
        # The count of a decay window is a fatigue value, not a number of times.
        return " ".join([_decay_sentence(until, language), *author])
    sentences = [_cause_sentence(denial, language), *author]
    if until is not None:
        moment = format_moment(until, language)
        sentences.append(texts["until"].format(until=moment))
    return " ".join(sentences)


def _decay_sentence(until: datetime | None, language: Language) -> str:
    texts = DENIAL_TEXTS[language]
    if until is None:
        return texts["often"]
    return texts["rests"].format(until=format_moment(until, language))


def _cause_sentence(denial: Denial, language: Language) -> str:
    texts = DENIAL_TEXTS[language]
    if denial.restored:
        return texts["restored"]
    if denial.used is None or denial.limit is None:
        return texts["held"]
    times = _format_times(denial.used, language)
    most = _format_times(denial.limit, language)
    return texts["counted"].format(times=times, most=most)


def format_moment(when: datetime, language: Language) -> str:
    """Return a date and time with weekday and month by name, whatever the locale is."""
    return DENIAL_TEXTS[language]["date"].format(
        weekday=WEEKDAYS[language][when.weekday()],
        day=when.day,
        month=MONTHS[language][when.month - 1],
        hour=when.hour,
        minute=when.minute,
    )


def _format_times(number: float, language: Language) -> str:
    if language == "de":
        return f"{number:g}-mal"
    return "once" if number == 1 else f"{number:g} times"
