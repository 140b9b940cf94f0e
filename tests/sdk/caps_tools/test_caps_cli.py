"""`tactful caps`: oddities and pictures at the command line; bad input is one sentence."""

import json
from pathlib import Path

import pytest

from tactful.cli import main
from tactful.device.caps import Rules

RULES = {
    "schema": 1,
    "rules": [
        {"id": "day", "key": ["item"], "window": {"kind": "sliding", "ms": 86_400_000},
         "limit": 1, "reason_code": "DAY"},
    ],
}  # fmt: skip
OFFERS = [
    {"at": "2026-03-02T09:00:00Z", "kind": "offer", "item": "tea"},
    {
        "at": "2026-03-02T10:00:00Z",
        "kind": "offer",
        "item": {"id": "tea", "brand": "x"},
    },
    {"at": "2026-03-02T10:01:00Z", "kind": "click", "item": "tea"},
    {"at": "2026-03-03T09:00:00Z", "kind": "offer", "item": "tea"},
    {"at": "2026-03-03T09:01:00+00:00", "kind": "click", "item": "tea"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules.json").write_text(json.dumps(RULES, indent=1))
    told = "\n".join(
        json.dumps(offer) for offer in reversed(OFFERS)
    )  # any order will do
    (tmp_path / "events.jsonl").write_text(told + "\n\n")
    return tmp_path


def simulate(folder: Path, *more: str) -> int:
    return main(
        ["caps", "simulate", str(folder / "rules.json"), "--events", str(folder / "events.jsonl"),
         *more]
    )  # fmt: skip


def test_each_day_is_drawn_with_what_was_refused_and_why(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert simulate(folder) == 0
    first, second, total = capsys.readouterr().out.splitlines()

    assert first.split() == [
        "2026-03-02",
        "●○",
        "1",
        "shown,",
        "1",
        "refused:",
        "DAY",
        "1",
    ]
    assert second.split() == ["2026-03-03", "●", "1", "shown"]
    assert total == "2 days: 2 shown, 1 refused; 1 clicks kept, 1 on refused offers"


def test_the_page_shows_the_same_and_needs_nothing_from_outside(folder: Path):
    assert simulate(folder, "--html", str(folder / "days.html")) == 0
    page = (folder / "days.html").read_text("utf-8")

    assert "1 shown, 1 refused" in page
    assert "DAY 1" in page
    assert "http" not in page


def test_lint_exits_with_1_if_anything_is_odd(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["caps", "lint", str(folder / "rules.json")]) == 0
    twice = {**RULES, "rules": [*RULES["rules"], {**RULES["rules"][0], "id": "again"}]}
    (folder / "rules.json").write_text(json.dumps(twice))

    assert main(["caps", "lint", str(folder / "rules.json")]) == 1
    assert "again: shadowed: 'day' always refuses first" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("{", "line 1"),
        ("[]", "not an object"),
        ('{"at": "soon", "item": "a"}', "at"),
        ('{"at": "1960-01-01T00:00:00Z", "item": "a"}', "1970 to 2100"),
        ('{"at": "2026-03-02T09:00:00Z"}', "item"),
        (
            '{"at": "2026-03-02T09:00:00Z", "item": {"id": "a", "colour": "red"}}',
            "colour",
        ),
        ('{"at": "2026-03-02T09:00:00Z", "item": {"id": "a", "tags": "x"}}', "tags"),
        (
            '{"at": "2026-03-02T09:00:00Z", "item": {"id": "a", "item_class": "vip"}}',
            "vip",
        ),
        ('{"at": "2026-03-02T09:00:00Z", "item": "a", "kind": "show"}', "show"),
        (
            '{"at": "2026-03-02T09:00:00Z", "item": "a", "zone": "Mars/Base"}',
            "Mars/Base",
        ),
        ('{"at": "2026-03-02T09:00:00Z", "item": "a", "extra": 1}', "extra"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], line: str, names: str
):
    (folder / "events.jsonl").write_text(line)

    assert simulate(folder) == 2
    told = capsys.readouterr().err
    assert told.startswith("tactful: ")
    assert told.count("\n") == 1
    assert names in told


def test_files_that_are_not_there_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["caps", "lint", str(folder / "none.json")]) == 2
    (folder / "events.jsonl").unlink()
    assert simulate(folder) == 2
    assert capsys.readouterr().err.count("cannot be read") == 2


def test_every_recipe_of_the_chapter_is_a_rule_that_loads(root: Path) -> None:
    blocks = (root / "docs" / "caps.md").read_text().split("```json\n")[1:]
    documents = [json.loads(block.split("```")[0]) for block in blocks]

    assert len(documents) >= 3
    for document in documents:
        if isinstance(document, dict) and "schema" in document:
            Rules.parse(document)
        else:
            rules = document if isinstance(document, list) else [document]
            Rules.parse({"schema": 1, "surfaces": {"push": {}}, "rules": rules})
