"""The report as plain text with tables, for a pull request or a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def render(report: Mapping[str, object]) -> str:
    """The report as Markdown."""
    checks = rows(report, "checks")
    parts = [
        f"# Audit: {headline(report)}\n",
        table(
            ("check", "verdict", "claim", "measured"),
            (
                [one["id"], one["verdict"], one["claim"], one["measured"]]
                for one in checks
            ),
        ),
        "\n## What this audit would have caught\n",
        table(
            ("fault", "seen by"),
            ([one["fault"], seen(one)] for one in rows(report, "power")),
        ),
        "\n## Scenarios\n",
        table(
            ("who misbehaves", "epsilon", "verdict"),
            (
                [s["scenario"], s["epsilon"], s["verdict"]]
                for s in rows(report, "scenarios")
            ),
        ),
        "\n## NIST SP 800-226 (initial public draft), hazards\n",
        table(
            ("n", "hazard", "answer", "status"),
            (
                [h["n"], h["hazard"], h["answer"], h["status"]]
                for h in rows(report, "hazards")
            ),
        ),
        "\n## Limits\n",
        "".join(f"- {limit}\n" for limit in listed(report, "limits")),
    ]
    return "\n".join(parts)


def headline(report: Mapping[str, object]) -> str:
    """The outcome in one line."""
    return {
        0: "every required check passed",
        1: "a claim is refuted",
        2: "nothing is refuted, but a required check is open",
    }.get(whole(report, "exit"), "unknown")


def seen(row: Mapping[str, object]) -> str:
    """By which checks a fault would be seen, with its chance."""
    checks = row.get("checks")
    if not isinstance(checks, Mapping):
        return "-"
    told = [
        f"{name} {'-' if p is None else format(p, '.2f')}" for name, p in checks.items()
    ]
    return ", ".join(told)


def table(head: Sequence[str], body: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for cells in body:
        lines.append(f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def rows(report: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """A part of the report that is a list of objects."""
    return [one for one in listed(report, name) if isinstance(one, Mapping)]


def listed(report: Mapping[str, object], name: str) -> list[object]:
    """A part of the report that is a list."""
    found = report.get(name)
    return list(found) if isinstance(found, list | tuple) else []


def whole(report: Mapping[str, object], name: str) -> int:
    """A part of the report that is a whole number; -1 if it is none."""
    found = report.get(name)
    return found if isinstance(found, int) else -1
