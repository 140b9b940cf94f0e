"""Report as one HTML page without scripts, fonts or external addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from tactful.audit.report.markdown import detections, headline, objects, values
from tactful.audit.report.plots import figures
from tactful.audit.run import Audit
from tactful.audit.trust_assumptions import VOID

STYLE = """
:root { color-scheme: light; --ink: #1f2933; --soft: #52606d; --line: #e4e7eb; --ours: #0b7a75; }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #f7f9fa; }
main { max-width: 1080px; margin: 0 auto; padding: 36px 24px 80px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 6px; } h2 { font-size: 19px; margin: 0 0 8px; }
section { background: #fff; border: 1px solid var(--line); border-radius: 12px; margin-top: 20px;
  padding: 20px 24px; overflow-x: auto; }
.soft, figcaption { color: var(--soft); font-size: 13.5px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px;
  margin-top: 18px; }
.tile { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 12px 16px; }
.tile b { display: block; font-size: 23px; color: var(--ours); font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; } td:first-child { white-space: nowrap; }
td { overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 20px; }
figure { margin: 0; } svg { width: 100%; height: auto; display: block; }
.v { display: inline-block; border-radius: 6px; padding: 1px 8px; font-size: 12.5px;
  font-weight: 600; white-space: nowrap; background: #e3f2f1; color: #07514e; }
.v.REFUTED { background: #7a1f1f; color: #fff; }
.v.INCONCLUSIVE, .v.NOT-RUN { background: #fff3d6; color: #6b4a00; }
.v.ASSUMED { background: #eceff2; color: #3e4c59; }
"""


def render(report: Mapping[str, object], audit: Audit) -> str:
    """Return the page of `report`, with figures of `audit`."""
    void = escape(VOID[audit.case.placement])
    parts = [
        f"<h1>Audit: {escape(headline(report))}</h1>",
        f'<p class="soft">{void} All other results depend on this.</p>',
        _tiles(report),
        _section("Checks", _checks(report)),
        _section("Figures", _figures(audit)),
        _section("Faults that this audit would have detected", _power(report)),
        _section("Scenarios", _scenarios(report)),
        _section("NIST SP 800-226 (initial public draft)", _hazards(report)),
        _section("Limits", _list(values(report, "limits"))),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Tactful audit</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _tiles(report: Mapping[str, object]) -> str:
    tiles = {**_claim_tiles(report), **_attack_tiles(report)}
    verdicts = [str(check["verdict"]) for check in objects(report, "checks")]
    tiles["checks that ran"] = str(sum(verdict != "NOT-RUN" for verdict in verdicts))
    tiles["checks that refute the claim"] = str(verdicts.count("REFUTED"))
    content = "".join(
        f'<div class="tile"><b>{escape(value)}</b>{escape(name)}</div>'
        for name, value in tiles.items()
    )
    return f'<div class="tiles">{content}</div>'


def _claim_tiles(report: Mapping[str, object]) -> dict[str, str]:
    claim = report.get("claim")
    if not isinstance(claim, Mapping):
        return {}
    tiles = {
        f"claimed epsilon at delta {claim['delta']:g}": f"{claim['epsilon']:.3f}",
        "epsilon at delta 1e-5": f"{claim['epsilon_at_1e-5']:.3f}",
        "epsilon if a device is replaced instead of zeroed": (
            f"{claim['epsilon_replace_one']:.3f}"
        ),
    }
    if claim["above_meaningful"]:
        tiles["largest epsilon with an intuitive meaning; this claim exceeds it"] = "1"
    return tiles


def _attack_tiles(report: Mapping[str, object]) -> dict[str, str]:
    lower = report.get("lower")
    if not isinstance(lower, Mapping) or "gaussian" not in lower:
        return {}
    name = f"lower bound on epsilon by attacks, of {lower['claimed']:.2f} claimed"
    return {name: f"{lower['gaussian']:.2f}"}


def _checks(report: Mapping[str, object]) -> str:
    body = "".join(_check_row(check) for check in objects(report, "checks"))
    return (
        "<table><thead><tr><th></th><th>verdict</th><th>claim</th><th>measured</th></tr>"
        f"</thead><tbody>{body}</tbody></table>"
    )


def _check_row(check: Mapping[str, object]) -> str:
    verdict = escape(str(check["verdict"]))
    return (
        f"<tr><td>{escape(str(check['id']))}</td>"
        f'<td><span class="v {verdict}">{verdict}</span></td>'
        f"<td>{escape(str(check['claim']))}</td>"
        f"<td>{escape(str(check['measured']))}</td></tr>"
    )


def _figures(audit: Audit) -> str:
    content = "".join(
        f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, svg in figures(audit)
    )
    if not content:
        return (
            "<p>There are no figures. Install <code>tactful[audit]</code>, or add more "
            "evidence.</p>"
        )
    return f'<div class="grid">{content}</div>'


def _power(report: Mapping[str, object]) -> str:
    rows = ((row["fault"], detections(row)) for row in objects(report, "power"))
    return (
        '<p class="soft">The probability that a check detects each fault, for the sample '
        "sizes of this evidence. A dash means that the check did not run, or cannot "
        f"detect the fault.</p>{_table(('fault', 'detected by'), rows)}"
    )


def _scenarios(report: Mapping[str, object]) -> str:
    columns = ("scenario", "epsilon", "verdict")
    rows = ([row[column] for column in columns] for row in objects(report, "scenarios"))
    return _table(columns, rows)


def _hazards(report: Mapping[str, object]) -> str:
    layers = report.get("nist")
    items = layers.items() if isinstance(layers, Mapping) else ()
    pyramid = "; ".join(f"{layer}: {status}" for layer, status in items)
    rows = [
        (
            hazard["n"],
            hazard["hazard"],
            hazard["answer"],
            " ".join(map(str, values(hazard, "evidence"))),
            hazard["status"],
        )
        for hazard in objects(report, "hazards")
    ]
    table = _table(("n", "hazard", "answer", "checks", "status"), rows)
    return f'<p class="soft">{escape(pyramid)}</p>{table}'


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _table(head: Sequence[str], body: Iterable[Sequence[object]]) -> str:
    head_cells = "".join(f"<th>{escape(title)}</th>" for title in head)
    rows = []
    for row in body:
        cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in row)
        rows.append(f"<tr>{cells}</tr>")
    return (
        f"<table><thead><tr>{head_cells}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _list(items: Iterable[object]) -> str:
    return f"<ul>{''.join(f'<li>{escape(str(item))}</li>' for item in items)}</ul>"
