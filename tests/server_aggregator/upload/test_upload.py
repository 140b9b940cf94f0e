"""A report is kept once, or its sender learns why not."""

from dataclasses import replace

import numpy as np

from tactful.protocol.dap.messages import HpkeCiphertext, ReportMetadata
from tactful.protocol.dap.versions import ReportError
from tactful.protocol.documents.task import TIME_PRECISION
from tactful_aggregator.upload.accept import SKEW_SECONDS, time_error

ONE = np.arange(8)


def kept(pair, task) -> int:
    with pair.leader_store.transaction() as tx:
        return tx.reports.count_not_refused(task.id)


def reason(pair, task, report) -> ReportError | None:
    """Why the leader refuses the only report it is sent, if it does."""
    refusals = pair.receive(task, report)
    assert [report_id for report_id, _ in refusals] in ([], [report.metadata.report_id])
    return refusals[0][1] if refusals else None


def test_reports_are_kept(pair) -> None:
    task = pair.agreed()

    assert pair.receive(task, *pair.reports(task, np.tile(ONE, (3, 1)))) == []
    assert kept(pair, task) == 3


def test_the_same_bytes_again_are_taken_and_kept_once(pair) -> None:
    task = pair.agreed()
    report = pair.report(task, ONE)

    assert pair.receive(task, report, report) == []
    assert pair.receive(task, report) == []
    assert kept(pair, task) == 1


def test_the_same_bytes_again_are_taken_after_they_were_counted(pair) -> None:
    task = pair.agreed()
    report = pair.report(task, ONE)
    pair.receive(task, report)
    pair.drive(task)
    pair.reopen()

    assert reason(pair, task, report) is None
    pair.drive(task)
    assert pair.total(task) == (ONE.tolist(), 1)


def test_an_id_used_for_other_bytes_is_a_replay(pair) -> None:
    task = pair.agreed()
    report, other = pair.reports(task, np.tile(ONE, (2, 1)))
    pair.receive(task, report)

    assert (
        reason(pair, task, replace(report, helper=other.helper))
        == ReportError.REPORT_REPLAYED
    )
    assert kept(pair, task) == 1


def test_an_id_is_free_in_another_task(pair) -> None:
    task, other = pair.agreed(), pair.agreed(model="books")
    report = pair.report(task, ONE)
    pair.receive(task, report)

    assert reason(pair, other, report) is None


def test_one_refusal_leaves_the_other_reports_kept(pair) -> None:
    task = pair.agreed()
    reports = pair.reports(task, np.tile(ONE, (3, 1)))
    early = replace(reports[1], metadata=replace(reports[1].metadata, time=2**40))

    refusals = pair.receive(task, reports[0], early, reports[2])

    assert refusals == [(early.metadata.report_id, ReportError.REPORT_TOO_EARLY)]
    assert kept(pair, task) == 2


def test_a_report_from_the_future_is_too_early(pair, now) -> None:
    task = pair.agreed(expires=now + 10**6)

    report = pair.report(task, ONE, now=now + 2 * TIME_PRECISION)

    assert reason(pair, task, report) == ReportError.REPORT_TOO_EARLY


def test_a_report_from_before_the_task_is_refused(pair, now) -> None:
    task = pair.agreed(opens=now)

    report = pair.report(task, ONE, now=now - 2 * TIME_PRECISION)

    assert reason(pair, task, report) == ReportError.TASK_NOT_STARTED


def test_a_report_after_the_task_is_refused(pair, now) -> None:
    task = pair.agreed(opens=now - 9000, expires=now)

    report = pair.report(task, ONE)

    assert reason(pair, task, report) == ReportError.TASK_EXPIRED


def test_a_report_to_a_closed_batch_is_refused_and_an_old_one_is_not(pair) -> None:
    task = pair.agreed()
    old, new = pair.reports(task, np.tile(ONE, (2, 1)))
    pair.receive(task, old)
    with pair.leader_store.transaction() as tx:
        tx.batches.close(task.id, 0, 1)

    assert reason(pair, task, new) == ReportError.BATCH_COLLECTED
    assert reason(pair, task, old) is None
    assert kept(pair, task) == 1


def test_a_share_sealed_to_an_unknown_key_is_refused(pair) -> None:
    task = pair.agreed()
    report = pair.report(task, ONE)
    sealed = HpkeCiphertext(2, report.leader.enc, report.leader.payload)

    assert (
        reason(pair, task, replace(report, leader=sealed))
        == ReportError.OUTDATED_CONFIG
    )


def test_nothing_of_a_refused_report_is_kept(pair) -> None:
    task = pair.agreed()
    report = pair.report(task, ONE)
    pair.receive(
        task, replace(report, metadata=ReportMetadata(report.metadata.report_id, 0))
    )

    assert reason(pair, task, report) is None


def test_a_clock_a_little_ahead_is_forgiven(pair, now) -> None:
    task = pair.task(expires=now + 10**6)
    hour = now // TIME_PRECISION + 1
    start = hour * TIME_PRECISION

    assert time_error(task.dap, hour, start - SKEW_SECONDS) is None
    assert (
        time_error(task.dap, hour, start - SKEW_SECONDS - 1)
        == ReportError.REPORT_TOO_EARLY
    )


def test_the_hour_in_which_a_task_opens_counts(pair, now) -> None:
    task = pair.task(opens=now)
    hour = now // TIME_PRECISION

    assert time_error(task.dap, hour, now) is None
    early = now - SKEW_SECONDS - 1
    assert time_error(task.dap, hour, early) == ReportError.TASK_NOT_STARTED
    assert time_error(task.dap, hour - 1, now) == ReportError.TASK_NOT_STARTED
