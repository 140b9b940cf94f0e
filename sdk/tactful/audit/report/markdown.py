"""Report as Markdown, for a pull request or a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

HEADLINES = {
    0: "every required check passed",
    1: "a claim is refuted",
    2: "nothing is refuted, but a required check is open",
}


def render(report: Mapping[str, object]) -> str:
    """Return the report as Markdown."""
    parts = [
        f"# Audit: {headline(report)}\n",
        _object_table(
            report, "checks", ("check", "verdict", "claim", "measured"), "id"
        ),
        "\n## Faults that this audit would have detected\n",
        table(
            ("fault", "detected by"),
            ([row["fault"], detections(row)] for row in objects(report, "power")),
        ),
        "\n## Scenarios\n",
        _object_table(report, "scenarios", ("scenario", "epsilon", "verdict")),
        "\n## NIST SP 800-226 (initial public draft), hazards\n",
        _object_table(report, "hazards", ("n", "hazard", "answer", "status")),
        "\n## Limits\n",
        "".join(f"- {limit}\n" for limit in values(report, "limits")),
    ]
    return "\n".join(parts)


def _object_table(
    report: Mapping[str, object], name: str, head: Sequence[str], first_key: str = ""
) -> str:
    """Return a table of a list of objects; `head` has titles that are also keys.

    `first_key` is the key of the first column, if it is not its title.
    """
    keys = (first_key or head[0], *head[1:])
    return table(head, ([row[key] for key in keys] for row in objects(report, name)))


def headline(report: Mapping[str, object]) -> str:
    """Return the result of the audit in one line."""
    return HEADLINES.get(integer(report, "exit"), "unknown")


def detections(row: Mapping[str, object]) -> str:
    """Return the checks that would detect a fault, with their probabilities."""
    checks = row.get("checks")
    if not isinstance(checks, Mapping):
        return "-"
    probabilities = []
    for check_id, probability in checks.items():
        text = "-" if probability is None else format(probability, ".2f")
        probabilities.append(f"{check_id} {text}")
    return ", ".join(probabilities)


def table(head: Sequence[str], body: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in body:
        cells = [str(cell).replace("|", "/") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def objects(report: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """Return the part `name` of the report, which is a list of objects."""
    return [value for value in values(report, name) if isinstance(value, Mapping)]


def values(report: Mapping[str, object], name: str) -> list[object]:
    """Return the part `name` of the report, which is a list; empty if it is not."""
    value = report.get(name)
    return list(value) if isinstance(value, list | tuple) else []


def integer(report: Mapping[str, object], name: str) -> int:
    """Return the part `name` of the report, which is an integer; -1 if it is not."""
    value = report.get(name)
    return value if isinstance(value, int) else -1
