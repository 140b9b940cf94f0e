"""Exposure logs are complete and can be replayed with frequency caps."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tactful.device.caps import Rules
from tactful.errors import DatasetError
from tactful_lab.cli import main
from tactful_lab.studies.exposures import LOGS, LoggedImpression, read, replay

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
NEWS, CAMPAIGNS = LOGS["ebnerd-sample"], LOGS["completejourney"]


def test_the_bundled_exposure_logs_are_complete() -> None:
    news, campaigns = read("ebnerd-sample"), read("completejourney")

    assert (len(news), sum(map(len, news.values()))) == (38, 10_848)
    assert (
        sum(
            impression.clicked
            for impressions in news.values()
            for impression in impressions
        )
        == 1_047
    )
    assert (len(campaigns), sum(map(len, campaigns.values()))) == (1_559, 6_589)


def test_a_replay_without_rules_allows_all_impressions() -> None:
    people = dict(list(read("ebnerd-sample").items())[:3])
    figures = replay(NEWS, people, Rules())

    assert (figures.impressions, figures.repeats, figures.clicks) == (
        figures.allowed_impressions,
        figures.allowed_repeats,
        figures.allowed_clicks,
    )


def test_a_third_impression_in_a_week_is_denied_with_its_click() -> None:
    impressions = [
        LoggedImpression(START + timedelta(days=day), "a", clicked=day == 2)
        for day in range(3)
    ]
    figures = replay(NEWS, {"p": impressions}, Rules.parse(NEWS.rules))

    assert (figures.impressions, figures.repeats, figures.clicks) == (3, 2, 1)
    assert (
        figures.allowed_impressions,
        figures.allowed_repeats,
        figures.allowed_clicks,
    ) == (2, 1, 0)
    assert figures.clicks_by_turn[:3] == ((1, 0), (1, 0), (1, 1))


def test_the_cap_of_campaigns_counts_all_campaigns_together() -> None:
    impressions = [
        LoggedImpression(START + timedelta(days=day), f"c{day}", clicked=False)
        for day in range(4)
    ]
    figures = replay(CAMPAIGNS, {"p": impressions}, Rules.parse(CAMPAIGNS.rules))

    assert (figures.repeats, figures.allowed_impressions, figures.allowed_repeats) == (
        3,
        2,
        1,
    )


def test_exposures_prints_figures_without_and_with_caps(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    never = {"id": "never", "key": ["item"], "window": {"kind": "lifetime"}, "limit": 0}
    rules = {"schema": 1, "rules": [{**never, "reason_code": "NEVER"}]}
    (tmp_path / "rules.json").write_text(json.dumps(rules))

    assert (
        main(["exposures", "ebnerd-sample", "--rules", str(tmp_path / "rules.json")])
        == 0
    )

    impressions = next(
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("impressions")
    )
    assert impressions.split() == ["impressions", "10,848", "0"]


def test_an_unknown_exposure_log_is_named() -> None:
    with pytest.raises(DatasetError, match="nothing"):
        read("nothing")
