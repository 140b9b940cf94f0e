"""What a half needs to settle reports does not grow with how many there are."""

import tracemalloc

import numpy as np

from tactful_aggregator.jobs import leader_jobs
from tactful_aggregator.jobs.leader_jobs import max_reports_per_job

LENGTH = 512


def peak_of_settling(pair, count: int) -> int:
    """The most bytes that both halves held while they settled `count` reports of one task."""
    name = f"of-{count}-in-{leader_jobs.MAX_REPORTS_PER_JOB}"
    task = pair.agreed(model=name, items=LENGTH, length=LENGTH, sigma2="9/1")
    report = np.full(LENGTH, 7)
    for _ in range(count):
        pair.receive(task, pair.report(task, report))
    tracemalloc.start()
    try:
        pair.drive(task)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_settling_six_times_as_many_reports_takes_no_more_memory(
    pair, monkeypatch
) -> None:
    """With jobs of at most eight reports, so that a few dozen are several jobs.

    The removal test: in one job of all it is several times as much.
    """
    monkeypatch.setattr(leader_jobs, "MAX_REPORTS_PER_JOB", 8)
    assert max_reports_per_job(pair.task(items=LENGTH, length=LENGTH).dap) == 8

    once, often = peak_of_settling(pair, 16), peak_of_settling(pair, 96)

    assert often < 1.2 * once
    monkeypatch.setattr(leader_jobs, "MAX_REPORTS_PER_JOB", 96)
    assert peak_of_settling(pair, 96) > 2 * often
