"""A batch is released whole, large, once, with the full noise of each half."""

import hashlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tactful.errors import BatchMismatch, BatchTooSmall, OpenError, TransportError
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.protocol.dap import hpke
from tactful.protocol.dap.codec import Reader
from tactful.protocol.dap.messages import HpkeCiphertext, input_share_aad
from tactful.protocol.dap.versions import HELPER, LEADER, ReportError
from tactful.vdaf.field64 import FIELD64
from tactful_aggregator.dap.collect_messages import Query, aggregate_share_aad
from tactful_aggregator.datastore import CLOSING, COLLECTED, OPEN
from tactful_aggregator.jobs import collection
from tactful_aggregator.task_registry import provisioned_round

ROWS = np.eye(8, dtype=int) * 14


def states(pair, task) -> tuple[object, object]:
    return pair.asked(lambda tx: tx.tasks.state(task.id))


def parts(pair, task) -> list[object]:
    """The one part of the sum that each half holds."""
    return [found[0] for found in pair.asked(lambda tx: tx.sums.shards(task.id, 0, 1))]


def released(pair, task) -> tuple[object, object]:
    return pair.asked(lambda tx: tx.batches.released_share(task.id, 0, 1))


def opened(pair, task) -> list[object]:
    """Both halves' noisy sums, as the collector opens them."""
    opened = []
    for role, one in (
        (LEADER, released(pair, task)[0]),
        (HELPER, released(pair, task)[1]),
    ):
        sealed = HpkeCiphertext.read(Reader(one.share, "share"))
        info = task.dap.dap.aggregate_share_info(role)
        aad = aggregate_share_aad(task.dap, Query(None))
        share = hpke.open_(
            pair.leader.keys.collecting, sealed.enc, info, aad, sealed.payload
        )
        opened.append(FIELD64.decode(share, task.encoding.padded))
    return opened


def tampered(sealed: HpkeCiphertext) -> HpkeCiphertext:
    return replace(sealed, payload=bytes([sealed.payload[0] ^ 1]) + sealed.payload[1:])


def test_a_batch_of_the_minimum_is_released(pair) -> None:
    task = pair.agreed(min_batch_size=8)
    pair.receive(task, *pair.reports(task, ROWS))

    total, count = pair.collect(task)

    assert count == 8
    assert np.abs(total - 14).max() <= 12  # no draw of either half is beyond 6
    assert states(pair, task) == (COLLECTED, COLLECTED)


def test_below_the_minimum_nothing_is_released_and_the_task_stays_open(pair) -> None:
    task = pair.agreed(min_batch_size=9)
    pair.receive(task, *pair.reports(task, ROWS))

    with pytest.raises(BatchTooSmall, match="8 reports of at least 9"):
        pair.collect(task)

    assert states(pair, task) == (OPEN, OPEN)
    assert pair.asked(lambda tx: tx.sums.shards(task.id, 0, 1)) == ([], [])
    pair.receive(task, pair.report(task, ROWS[0]))
    assert pair.collect(task)[1] == 9


@pytest.mark.parametrize("role", ["leader", "helper"])
def test_refusals_that_make_a_batch_too_small_open_it_again(pair, role: str) -> None:
    task = pair.agreed(min_batch_size=8)
    reports = pair.reports(task, ROWS)
    reports[0] = replace(reports[0], **{role: tampered(getattr(reports[0], role))})
    pair.receive(task, *reports)

    with pytest.raises(BatchTooSmall, match="7 reports of at least 8"):
        pair.collect(task)

    assert states(pair, task) == (OPEN, OPEN)
    pair.receive(task, pair.report(task, ROWS[0]))
    assert pair.collect(task)[1] == 8


def test_noise_is_drawn_once_and_every_repeat_has_the_same_bytes(pair) -> None:
    task = pair.agreed(sigma2="1000000/1")
    pair.receive(task, *pair.reports(task, ROWS))

    first, _ = pair.collect(task)
    again, _ = pair.collect(task)
    pair.reopen()
    later, count = pair.collect(task)

    assert first.tobytes() == again.tobytes() == later.tobytes()
    assert count == 8


def test_the_sum_without_noise_is_gone_once_noise_is_drawn(pair) -> None:
    task = pair.agreed()
    pair.receive(task, *pair.reports(task, ROWS))
    pair.collect(task)

    assert pair.asked(lambda tx: tx.sums.shards(task.id, 0, 1)) == ([], [])
    assert None not in released(pair, task)


def test_a_late_report_is_refused(pair) -> None:
    task = pair.agreed()
    pair.receive(task, *pair.reports(task, ROWS))
    pair.collect(task)

    late = pair.report(task, ROWS[0])

    assert pair.receive(task, late) == [
        (late.metadata.report_id, ReportError.BATCH_COLLECTED)
    ]
    assert pair.collect(task)[1] == 8


@pytest.mark.parametrize(
    "change",
    [{"count": 7}, {"count": 9}, {"checksum": bytes(32)}],
    ids=["fewer", "more", "others"],
)
def test_the_helper_releases_nothing_for_other_reports(
    pair, change: dict[str, object]
) -> None:
    task = pair.agreed()
    pair.receive(task, *pair.reports(task, ROWS))
    pair.drive(task)
    mine = replace(parts(pair, task)[0], **change)

    with pytest.raises(BatchMismatch):
        pair.share(task, mine.count, mine.checksum)

    assert released(pair, task) == (None, None)
    assert states(pair, task)[1] == OPEN


def test_a_leader_that_lost_a_report_releases_nothing(pair) -> None:
    task = pair.agreed()
    pair.receive(task, *pair.reports(task, ROWS))
    pair.drive(task)
    kept = parts(pair, task)[0]
    with pair.leader_store.transaction() as tx:
        tx.sums.replace_shard(task.id, 0, replace(kept, count=kept.count - 1))

    with pytest.raises(BatchMismatch):
        pair.collect(task)

    assert released(pair, task) == (None, None)


def test_the_helper_holds_its_own_minimum(pair) -> None:
    task = pair.agreed(min_batch_size=8)
    pair.receive(task, *pair.reports(task, ROWS[:7]))
    pair.drive(task)
    mine = parts(pair, task)[0]

    with pytest.raises(BatchTooSmall):
        pair.share(task, mine.count, mine.checksum)


def test_a_batch_of_nobody_is_not_released(pair) -> None:
    task = pair.agreed(min_batch_size=1)

    with pytest.raises(BatchTooSmall):
        pair.share(task, 0, bytes(32))
    provisioned = provisioned_round(task, pair.helper)
    batch = collection.Batch.of(provisioned, Query(None))
    with pytest.raises(BatchTooSmall), pair.helper_store.transaction() as tx:
        collection.release_share(tx, provisioned, batch, HELPER)


class Unreachable:
    """A helper that counts but does not hand out its sum."""

    def __init__(self, pair) -> None:
        self.aggregate = pair.aggregate

    def aggregate_share(self, task, request: bytes) -> bytes:
        raise TransportError("no answer")


def test_without_the_helper_nothing_is_released_and_no_report_joins(pair) -> None:
    task = pair.agreed()
    pair.receive(task, *pair.reports(task, ROWS))

    with pytest.raises(TransportError):
        pair.collect(task, Unreachable(pair))

    assert states(pair, task) == (CLOSING, OPEN)
    assert len(pair.receive(task, pair.report(task, ROWS[0]))) == 1
    assert pair.collect(task)[1] == 8


def test_each_half_adds_its_own_full_noise(pair) -> None:
    """Residues against known reports, chi-square of 8192 draws each; seeds cannot be fixed.

    The bounds are five standard errors wide: false alarm below once in a million for each.
    """
    task = pair.agreed(
        items=8192, length=8192, sigma2="10000/1", family="rounded_gaussian"
    )
    pair.receive(task, *pair.reports(task, np.ones((4, 8192), dtype=int)))
    pair.drive(task)
    before = [FIELD64.decode(one.total, 8192) for one in parts(pair, task)]

    total, _ = pair.collect(task)

    after = opened(pair, task)
    mine, theirs = (
        FIELD64.to_integers(FIELD64.subtract(noisy, exact))
        for noisy, exact in zip(after, before, strict=True)
    )
    error = 5 * np.sqrt(2 / 8192)
    assert total.dtype == np.int64
    assert (total == 4 + mine + theirs).all()
    for noise in (mine, theirs):
        assert abs(np.square(noise).mean() / 10_000 - 1) < error
    assert abs(np.square(total - 4).mean() / 20_000 - 1) < error
    assert abs((total - 4).mean()) < 5 * np.sqrt(20_000 / 8192)
    assert abs(np.corrcoef(mine, theirs)[0, 1]) < 5 / np.sqrt(8192)


def test_the_noise_is_the_table_that_the_task_names(pair) -> None:
    task = pair.agreed()
    pair.receive(task, *pair.reports(task, np.zeros((4, 8), dtype=int)))
    table = NoiseTable.of(task.family, Fraction(task.sigma2))

    total, _ = pair.collect(task)

    assert np.abs(total).max() <= 2 * -table.lowest


def test_neither_file_alone_holds_a_measurement(pair) -> None:
    """Before anything is counted and after, a half's own numbers are far from every measurement."""
    task = pair.agreed()
    pair.receive(task, *pair.reports(task, np.tile(ROWS[0], (4, 1))))
    pair.drive(task)

    for batch in parts(pair, task):
        alone = FIELD64.to_integers(FIELD64.decode(batch.total, 8))
        assert (np.abs(alone) > 2**40).all()  # false alarm: 16 draws, each once in 2^23


def test_a_settled_report_leaves_no_body_in_either_file(pair) -> None:
    task = pair.agreed()
    reports = pair.reports(task, ROWS)
    pair.receive(task, *reports)
    pair.collect(task)
    pair.close()
    files = b"".join(
        path.read_bytes()
        for aggregator in pair.aggregators
        for path in aggregator.folder.glob("aggregator.db*")
    )
    pair.open()

    for report in reports:
        assert report.leader.payload not in files
        assert report.helper.payload not in files


def test_the_leaders_file_does_not_open_the_helpers_shares(pair) -> None:
    task = pair.agreed()
    report = pair.report(task, ROWS[0])
    aad = input_share_aad(task.dap, report.metadata, report.public_share)
    info = task.dap.dap.input_share_info(HELPER)
    sealed = report.helper

    with pytest.raises(OpenError):
        hpke.open_(pair.leader.keys.opener, sealed.enc, info, aad, sealed.payload)
    opened = hpke.open_(pair.helper.keys.opener, sealed.enc, info, aad, sealed.payload)
    assert len(opened) == 6 + 2 * 32  # a seed and a blind


def test_a_release_is_published_only_with_its_log_entry(pair, monkeypatch) -> None:
    """The removal test: where the entry cannot be written, nothing is published either."""
    from tactful_aggregator.training import publication

    def full(*_: object) -> None:
        raise OSError("no room")

    task = pair.agreed()
    total = np.zeros(8, dtype=np.int64)
    monkeypatch.setattr(publication, "append_to_log", full)
    with pytest.raises(OSError, match="no room"):
        publication.record_batch(pair.leader_store, task, total, 4, 0)

    digest = hashlib.sha256(total.tobytes()).hexdigest()
    with pair.leader_store.transaction() as tx:
        assert tx.published.file(digest) is None
    monkeypatch.undo()
    for _ in range(2):
        publication.record_batch(pair.leader_store, task, total, 4, 0)
    with pair.leader_store.transaction() as tx:
        assert tx.published.file(digest) == total.tobytes()
        assert len(tx.published.entries()) == 1
