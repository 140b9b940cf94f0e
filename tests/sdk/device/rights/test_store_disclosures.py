"""Disclosures follow from signals and settings, and the ones in docs/ are never stale."""

import plistlib
from dataclasses import replace

import pytest

from tactful.cli import main
from tactful.device.event_schema import EventSchema, built_in
from tactful.device.rights.store_disclosures import (
    APPLE,
    data_safety,
    disclosures,
    main_parameters,
    require_current,
    retention,
    write,
)
from tactful.device.settings import Aggregators, Settings
from tactful.errors import InvalidInput

ALONE = Settings(path=None)
PAIR = Aggregators(
    model="shop",
    leader="https://leader.example",
    helper="https://helper.example",
    leader_key="A" * 43 + "=",
    helper_key="B" * 42 + "A=",
)
SHARING = replace(ALONE, aggregators=PAIR)


def test_the_documents_of_this_repository_are_current(root) -> None:
    require_current(root / "docs" / "disclosures", disclosures(SHARING, built_in()))


def test_a_stale_document_is_named(tmp_path) -> None:
    write(tmp_path, disclosures(ALONE, built_in()))

    require_current(tmp_path, disclosures(ALONE, built_in()))
    with pytest.raises(InvalidInput, match="main-parameters"):
        require_current(tmp_path, disclosures(replace(ALONE, balance=0.2), built_in()))
    (tmp_path / APPLE).unlink()
    with pytest.raises(InvalidInput, match="PrivacyInfo"):
        require_current(tmp_path, disclosures(ALONE, built_in()))


def test_an_app_that_shares_nothing_collects_nothing() -> None:
    manifest = plistlib.loads(disclosures(ALONE, built_in())[APPLE])

    assert manifest["NSPrivacyCollectedDataTypes"] == []
    assert manifest["NSPrivacyTracking"] is False


def test_an_app_that_shares_says_so_and_tracks_nobody() -> None:
    (collected,) = plistlib.loads(disclosures(SHARING, built_in())[APPLE])[
        "NSPrivacyCollectedDataTypes"
    ]

    assert not collected["NSPrivacyCollectedDataTypeLinked"]
    assert not collected["NSPrivacyCollectedDataTypeTracking"]
    assert "differentially private" in data_safety(SHARING, built_in())
    assert "differentially private" not in data_safety(ALONE, built_in())


def test_every_signal_is_in_every_table_and_none_that_is_not_declared() -> None:
    half = EventSchema(list(built_in())[::2])

    for signal in built_in():
        for table in (retention(half), data_safety(ALONE, half)):
            assert (signal.description in table) == (signal in list(half))


def test_the_weights_are_those_in_force() -> None:
    assert "| 25% at most |" in main_parameters(replace(ALONE, balance=0.25))


def test_the_command_writes_checks_and_names_what_is_stale(tmp_path, capsys) -> None:
    settings = tmp_path / "app.toml"
    settings.write_text("balance = 0.5\n")
    command = ["disclosures", str(tmp_path / "out"), "--settings", str(settings)]

    assert main(command) == 0
    assert main([*command, "--check"]) == 0
    settings.write_text("balance = 0.4\n")
    assert main([*command, "--check"]) == 2
    assert capsys.readouterr().err == (
        "tactful: main-parameters.md: it is outdated or missing; run `tactful disclosures` again\n"
    )
    assert main([*command, "--signals", str(tmp_path / "none.json")]) == 2
    assert main(["disclosures", "x", "--settings", str(tmp_path / "none.toml")]) == 2
