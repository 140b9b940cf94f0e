"""Whatever fails and whenever: no report is counted twice, mixed, made up or lost."""

import tempfile
from pathlib import Path

import pytest
from dap_simulation import Simulation, Step, steps
from hypothesis import given, settings

from tactful.errors import TactfulError
from tactful_aggregator.datastore import StoreTransaction

both = pytest.mark.parametrize("protocol", ["dap-09", "dap-18"])


@both
@settings(max_examples=12)
@given(steps=steps)
def test_no_schedule_of_faults_changes_what_is_counted(
    protocol: str, steps: list[Step]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Simulation(Path(folder), protocol).run(steps)


KILLS = [
    [
        Step("upload", 4),
        Step("settle", fault=f"kill {half}", at=at),
        Step("start", 0),
        Step("work", fault=f"kill {half}", at=at),
        Step("work"),
    ]
    for half in ("leader", "helper")
    for at in range(1, 26)
]


@pytest.mark.parametrize(
    "steps", KILLS, ids=lambda steps: f"{steps[1].fault} {steps[1].at}"
)
def test_a_half_killed_before_any_statement_counts_all_and_draws_once(
    steps: list[Step],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Simulation(Path(folder), "dap-18").run(steps)


LOST_ANSWER = [
    Step("upload", 4),
    Step("settle", fault="answer", at=3),
    Step("settle"),
    Step("start", 0),
    Step("work"),
]
FOUND = {
    "a collection that is begun twice is one": [Step("start"), Step("start")],
    "two collections that overlap": [
        Step("start"),
        Step("upload"),
        Step("start", 4),
        Step("work"),
        Step("poll"),
    ],
    "a collection whose first answer is lost": [
        Step("upload", 2),
        Step("start", fault="answer", at=3),
        Step("start"),
        Step("work"),
        Step("poll"),
    ],
}


@both
@pytest.mark.parametrize("found", FOUND)
def test_what_campaigns_found_stays_mended(protocol: str, found: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Simulation(Path(folder), protocol).run(FOUND[found])


FORGOTTEN = {
    "the helper forgets what it answered and counted": {
        "answered_job": lambda tx, job_id: None,
        "add_report_id": lambda tx, task_id, report_id, bucket: True,
    },
    "the leader counts whoever holds the job": {
        "holds_job": lambda tx, job_id, token: True,
        "finish_job": lambda tx, job_id: None,
    },
    "reports are acknowledged and not kept": {
        "add_reports": lambda tx, task_id, kept: None
    },
}


@pytest.mark.parametrize("defence", FORGOTTEN)
def test_the_simulation_notices_when_a_defence_is_taken_out(
    monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    for name, stand_in in FORGOTTEN[defence].items():
        monkeypatch.setattr(StoreTransaction, name, stand_in)
    monkeypatch.setattr("tactful_aggregator.jobs.aggregation.PATIENCE_SECONDS", 0.2)

    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.raises((AssertionError, TactfulError)),
    ):
        Simulation(Path(folder), "dap-18").run(LOST_ANSWER)
