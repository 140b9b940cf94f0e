"""Both halves count the same reports, each once, and the sum is exact."""

from dataclasses import replace

import numpy as np
import pytest

from tactful.errors import DecodeError, ProtocolError
from tactful.protocol.dap.messages import HpkeCiphertext
from tactful.protocol.dap.vdaf_config import sum_vec_field64_for
from tactful.protocol.dap.versions import ReportError
from tactful.vdaf.version import VDAF_18
from tactful_aggregator.datastore import REFUSED
from tactful_aggregator.jobs import leader_jobs
from tactful_aggregator.jobs.leader_jobs import MAX_REPORTS_PER_JOB
from tactful_aggregator.task_registry import provisioned_round

JOB, OTHER_JOB = b"a job's id: 16 b", b"another job's id"


def tampered(sealed: HpkeCiphertext) -> HpkeCiphertext:
    return replace(sealed, payload=bytes([sealed.payload[0] ^ 1]) + sealed.payload[1:])


def test_the_sum_of_many_reports_is_exact(pair) -> None:
    task = pair.agreed(items=100, length=100)
    rows = np.random.default_rng(1).integers(0, 15, (3 * MAX_REPORTS_PER_JOB + 5, 128))
    pair.receive(task, *pair.reports(task, rows))

    pair.drive(task)

    assert pair.total(task) == (rows.sum(axis=0).tolist(), len(rows))


@pytest.mark.parametrize("splits", [(7,), (1, 6), (0, 7), (2, 0, 5), (1, 1, 1, 1, 3)])
def test_how_reports_arrive_does_not_change_the_sum(
    pair, splits: tuple[int, ...]
) -> None:
    task = pair.agreed()
    rows = np.arange(8 * 7).reshape(7, 8) % 15
    rest = pair.reports(task, rows)
    for count in splits:
        pair.receive(task, *rest[:count])
        rest = rest[count:]
        pair.drive(task)

    assert pair.total(task) == (rows.sum(axis=0).tolist(), 7)


@pytest.mark.parametrize("role", ["leader", "helper"])
def test_a_tampered_share_spoils_only_its_own_report(pair, role: str) -> None:
    task = pair.agreed()
    rows = np.tile(np.arange(8), (5, 1))
    reports = pair.reports(task, rows)
    reports[2] = replace(reports[2], **{role: tampered(getattr(reports[2], role))})
    pair.receive(task, *reports)

    pair.drive(task)

    assert pair.total(task) == (rows[:4].sum(axis=0).tolist(), 4)


@pytest.mark.parametrize("role", ["leader", "helper"])
def test_a_share_moved_to_another_report_does_not_count(pair, role: str) -> None:
    task = pair.agreed()
    one, other = pair.reports(task, np.tile(np.arange(8), (2, 1)))
    pair.receive(task, one, replace(other, **{role: getattr(one, role)}))

    pair.drive(task)

    assert pair.total(task) == (list(range(8)), 1)


def test_a_report_made_for_another_task_does_not_count(pair) -> None:
    task, other = pair.agreed(), pair.agreed(model="books")
    pair.receive(
        task, pair.report(other, np.arange(8)), pair.report(task, np.arange(8))
    )

    pair.drive(task)

    assert pair.total(task) == (list(range(8)), 1)


def test_a_measurement_of_another_length_does_not_count(pair) -> None:
    task = pair.agreed()
    longer = sum_vec_field64_for(16, 14, 3).vdaf(VDAF_18)
    other = pair.shared_by(task, longer, np.arange(16) % 15)
    pair.receive(task, other, pair.report(task, np.arange(8)))

    pair.drive(task)

    assert pair.total(task) == (list(range(8)), 1)


def test_a_refused_report_is_kept_as_refused(pair) -> None:
    task = pair.agreed()
    report = pair.report(task, np.arange(8))
    pair.receive(task, replace(report, helper=tampered(report.helper)))
    pair.drive(task)

    with pair.leader_store.transaction() as tx:
        assert tx.reports.count_not_refused(task.id) == 0
        assert tx.reports.assign_to_job(task.id, JOB, 10) == 0
    assert REFUSED == 3


def test_a_report_in_a_second_job_is_a_replay(pair) -> None:
    task = pair.agreed()
    one, other = pair.reports(task, np.tile(np.arange(8), (2, 1)))
    assert pair.answered(task, JOB, pair.job(task, one)) == [None]

    answer = pair.answered(task, OTHER_JOB, pair.job(task, one, other))

    assert answer == [ReportError.REPORT_REPLAYED, None]
    with pair.helper_store.transaction() as tx:
        assert tx.sums.shards(task.id, 0, 1)[0].count == 2


def test_a_report_twice_in_one_job_is_refused_with_the_job(pair) -> None:
    task = pair.agreed()
    report = pair.report(task, np.arange(8))

    with pytest.raises(ProtocolError, match="twice"):
        pair.aggregate(task.dap, JOB, pair.job(task, report, report))


def test_the_same_job_again_has_the_same_answer_and_counts_once(pair) -> None:
    task = pair.agreed()
    request = pair.job(task, *pair.reports(task, np.tile(np.arange(8), (3, 1))))

    first = pair.aggregate(task.dap, JOB, request)
    pair.reopen()

    assert pair.aggregate(task.dap, JOB, request) == first
    with pair.helper_store.transaction() as tx:
        assert tx.sums.shards(task.id, 0, 1)[0].count == 3


def test_a_job_that_was_another_one_before_is_refused(pair) -> None:
    task = pair.agreed()
    one, other = pair.reports(task, np.tile(np.arange(8), (2, 1)))
    pair.aggregate(task.dap, JOB, pair.job(task, one))

    with pytest.raises(ProtocolError, match="used for another request"):
        pair.aggregate(task.dap, JOB, pair.job(task, other))


@pytest.mark.parametrize(
    "crime", ["ciphertext", "config", "too early", "before the task"]
)
def test_the_helper_names_why_it_does_not_take_a_report(pair, crime: str) -> None:
    task = pair.agreed()
    report = pair.report(task, np.arange(8))
    changes = {
        "ciphertext": {"helper": tampered(report.helper)},
        "config": {"helper": replace(report.helper, config_id=9)},
        "too early": {"metadata": replace(report.metadata, time=2**40)},
        "before the task": {"metadata": replace(report.metadata, time=0)},
    }
    expected = {
        "ciphertext": ReportError.HPKE_DECRYPT_ERROR,
        "config": ReportError.HPKE_UNKNOWN_CONFIG_ID,
        "too early": ReportError.REPORT_TOO_EARLY,
        "before the task": ReportError.TASK_NOT_STARTED,
    }

    answer = pair.answered(task, JOB, pair.job(task, replace(report, **changes[crime])))

    assert answer == [expected[crime]]


def test_the_helper_counts_what_was_in_time_after_the_task_is_over(pair) -> None:
    task = pair.agreed()
    report = pair.report(task, np.arange(8))
    pair.now = task.expires + 1000

    assert pair.answered(task, JOB, pair.job(task, report)) == [None]


def test_the_helper_refuses_each_report_once_it_has_summed(pair) -> None:
    task = pair.agreed()
    pair.receive(task, *pair.reports(task, np.tile(np.arange(8), (4, 1))))
    pair.collect(task)

    answer = pair.answered(
        task, OTHER_JOB, pair.job(task, pair.report(task, np.arange(8)))
    )

    assert answer == [ReportError.BATCH_COLLECTED]


def test_nothing_is_counted_once_the_helper_has_closed(pair) -> None:
    task = pair.agreed()
    with pair.helper_store.transaction() as tx:
        tx.batches.close(task.id, 0, 1)

    answer = pair.answered(task, JOB, pair.job(task, pair.report(task, np.arange(8))))

    assert answer == [ReportError.BATCH_COLLECTED]


def test_a_job_of_noise_is_refused(pair) -> None:
    task = pair.agreed()
    noise = np.random.default_rng(2)

    for length in range(120):
        with pytest.raises(DecodeError):
            pair.aggregate(task.dap, JOB, b"\1" + noise.bytes(length))


class Liar:
    """A helper that answers for other reports than it was asked about."""

    def __init__(self, pair) -> None:
        self.pair = pair

    def aggregate(self, task, job_id: bytes, request: bytes) -> bytes:
        answer = self.pair.aggregate(task, job_id, request)
        return bytes(16) + answer[16:]


def test_answers_for_other_reports_count_nothing(pair) -> None:
    task = pair.agreed()
    pair.receive(task, *pair.reports(task, np.tile(np.arange(8), (2, 1))))

    with pytest.raises(ProtocolError, match="other reports"):
        leader_jobs.settle_all(
            pair.leader_dependencies, Liar(pair), provisioned_round(task, pair.leader)
        )

    with pair.leader_store.transaction() as tx:
        assert tx.sums.shards(task.id, 0, 1) == []
    pair.now += leader_jobs.MAX_DELAY_SECONDS
    pair.drive(task)
    assert pair.total(task)[1] == 2
