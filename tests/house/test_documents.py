"""What the pages tell people to write is what the code reads."""

import json
import re
from pathlib import Path

import pytest

import tactful
from tactful import Experiment
from tactful.caps_tools.lint import lint
from tactful.device.caps import Rules


def documents(page: Path) -> list[object]:
    return [
        json.loads(one)
        for one in re.findall(r"```json\n(.*?)```", page.read_text(), re.DOTALL)
    ]


def test_every_recipe_for_limits_is_a_document_of_rules_without_an_odd_one(
    root: Path,
) -> None:
    found = documents(root / "docs" / "caps.md")

    assert len(found) >= 4
    for one in found:
        rules = one if isinstance(one, list) else [one]
        whole = one if "schema" in rules[0] else {"schema": 1, "rules": rules}
        surfaces = {"home": {}, "push": {"interruptive": True}}
        read = Rules.parse({"surfaces": surfaces, **whole})
        assert len(read.rules) == len(whole["rules"])
        assert not [remark for remark in lint(read) if not remark.is_note]


def test_the_experiment_of_the_page_can_be_read(root: Path) -> None:
    [one] = documents(root / "docs" / "experiments.md")

    assert Experiment.parse(json.dumps(one)).arms[1].diversity == 0.4


@pytest.mark.parametrize("name", tactful.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(tactful, name).__doc__
