"""Whatever fails and whenever: no report is counted twice, mixed, made up or lost."""

import tempfile
from pathlib import Path

import pytest
from dap_simulation import Simulation, Step, steps
from hypothesis import given, settings

from tactful.errors import TactfulError
from tactful_aggregator.datastore.jobs import JobQueries
from tactful_aggregator.datastore.reports import ReportQueries

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
        Step("settle", fault=f"kill {aggregator}", at=at),
        Step("start", 0),
        Step("work", fault=f"kill {aggregator}", at=at),
        Step("work"),
    ]
    for aggregator in ("leader", "helper")
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


REMOVED_DEFENCES = {
    "the helper forgets its responses and counted reports": [
        (JobQueries, "response", lambda jobs, job_id: None),
        (ReportQueries, "add_id", lambda reports, task_id, report_id, bucket: True),
    ],
    "the leader counts a job without its lease": [
        (JobQueries, "is_leased_to", lambda jobs, job_id, token: True),
        (JobQueries, "finish", lambda jobs, job_id: None),
    ],
    "reports are acknowledged and not stored": [
        (ReportQueries, "add_all", lambda reports, task_id, stored: None),
    ],
}


@pytest.mark.parametrize("defence", REMOVED_DEFENCES)
def test_the_simulation_fails_when_a_defence_is_removed(
    monkeypatch: pytest.MonkeyPatch, defence: str
) -> None:
    for owner, name, replacement in REMOVED_DEFENCES[defence]:
        monkeypatch.setattr(owner, name, replacement)
    monkeypatch.setattr("tactful_aggregator.jobs.leader_jobs.PATIENCE_SECONDS", 0.2)

    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.raises((AssertionError, TactfulError)),
    ):
        Simulation(Path(folder), "dap-18").run(LOST_ANSWER)
