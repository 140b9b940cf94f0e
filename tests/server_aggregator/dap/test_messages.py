"""Every message of both versions comes back as it was sent, and nothing else is taken for one."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.errors import DecodeError
from tactful.protocol.dap import hpke, messages
from tactful.protocol.dap.codec import opaque8, opaque16, opaque32, u8, u16, u32, u64
from tactful.protocol.dap.dap_task import LEADER_SELECTED, TIME_INTERVAL, DapTask
from tactful.protocol.dap.messages import (
    HpkeCiphertext,
    HpkeConfig,
    Report,
    ReportMetadata,
)
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful.protocol.dap.versions import (
    DAP_09,
    DAP_18,
    HELPER,
    LEADER,
    DapVersion,
    ReportError,
)
from tactful_aggregator.dap import collect_messages, job_messages
from tactful_aggregator.dap.collect_messages import (
    AggregateShareReq,
    Collection,
    CollectionReq,
    Interval,
    Query,
    aggregate_share_aad,
)
from tactful_aggregator.dap.job_messages import VerifyInit, VerifyResp

HOUR = 3600


def task(dap: DapVersion, mode: int = TIME_INTERVAL) -> DapTask:
    return DapTask(
        id=bytes(range(32)),
        dap=dap,
        leader="https://leader.example",
        helper="https://helper.example",
        time_precision=HOUR,
        min_batch_size=100,
        mode=mode,
        opens=10 * HOUR,
        expires=20 * HOUR,
        vdaf_config=VdafConfig(kind="sum", most=255),
        info=b"a task",
    )


TASKS = {
    f"{dap.tag}, {name}": task(dap, mode)
    for dap in (DAP_09, DAP_18)
    for name, mode in (("interval", TIME_INTERVAL), ("one batch", LEADER_SELECTED))
}
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)

ids = st.binary(min_size=16, max_size=16)
bytes_ = st.binary(max_size=40)
octets = st.integers(0, 255)
numbers = st.integers(0, 2**64 - 1)
metadata = st.builds(ReportMetadata, report_id=ids, time=numbers)
ciphertexts = st.builds(HpkeCiphertext, config_id=octets, enc=bytes_, payload=bytes_)
reports = st.builds(
    Report,
    metadata=metadata,
    public_share=bytes_,
    leader=ciphertexts,
    helper=ciphertexts,
)
entries = st.builds(
    VerifyInit,
    metadata=metadata,
    public_share=bytes_,
    helper=ciphertexts,
    verifier_share=bytes_,
)
configs = st.builds(
    HpkeConfig, config_id=octets, public_key=st.binary(min_size=32, max_size=32)
)
intervals = st.builds(Interval, start=numbers, duration=numbers)


def reasons(task: DapTask) -> st.SearchStrategy[ReportError]:
    """Those that a version has a code of its own for."""
    lost = (ReportError.TASK_NOT_STARTED, ReportError.OUTDATED_CONFIG)
    known = [one for one in task.dap.errors if task.dap is DAP_18 or one not in lost]
    return st.sampled_from(known)


def queries(task: DapTask) -> st.SearchStrategy[Query]:
    return st.builds(Query, intervals if task.mode == TIME_INTERVAL else st.none())


@dataclass(frozen=True)
class Kind:
    """How one message is written and read for a task."""

    values: Callable[[DapTask], st.SearchStrategy]
    encode: Callable
    decode: Callable


def some(values: st.SearchStrategy, least: int = 1, most: int = 3) -> st.SearchStrategy:
    return st.lists(values, min_size=least, max_size=most)


KINDS = {
    "config list": Kind(
        lambda task: some(configs),
        lambda value, task: messages.encode_config_list(value),
        lambda body, task: messages.decode_config_list(body),
    ),
    "upload": Kind(
        lambda task: some(reports, most=1 if task.dap.counted else 3),
        lambda value, task: b"".join(one.encode(task.dap) for one in value),
        lambda body, task: messages.decode_upload(body, task.dap),
    ),
    "upload errors": Kind(
        lambda task: some(st.tuples(ids, reasons(task))),
        lambda value, task: messages.encode_upload_errors(value, task.dap),
        lambda body, task: messages.decode_upload_errors(body, task.dap),
    ),
    "plaintext share": Kind(
        lambda task: bytes_,
        lambda value, task: messages.encode_plaintext_share(value),
        lambda body, task: messages.decode_plaintext_share(body),
    ),
    "job": Kind(
        lambda task: some(entries, least=0),
        lambda value, task: job_messages.encode_job(task, value),
        lambda body, task: job_messages.decode_job(task, body),
    ),
    "job answer": Kind(
        lambda task: some(
            st.builds(VerifyResp, report_id=ids, outcome=bytes_ | reasons(task)),
            least=0,
        ),
        lambda value, task: job_messages.encode_job_answer(value, task.dap),
        lambda body, task: job_messages.decode_job_answer(body, task.dap),
    ),
    "collection request": Kind(
        lambda task: st.builds(CollectionReq, queries(task)),
        CollectionReq.encode,
        CollectionReq.decode,
    ),
    "collection": Kind(
        lambda task: st.builds(
            Collection,
            count=numbers,
            interval=intervals,
            leader=ciphertexts,
            helper=ciphertexts,
        ),
        Collection.encode,
        Collection.decode,
    ),
    "share request": Kind(
        lambda task: st.builds(
            AggregateShareReq,
            query=queries(task),
            count=numbers,
            checksum=st.binary(min_size=32, max_size=32),
        ),
        AggregateShareReq.encode,
        AggregateShareReq.decode,
    ),
    "share": Kind(
        lambda task: ciphertexts,
        lambda value, task: value.encode(),
        lambda body, task: collect_messages.decode_aggregate_share(body),
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
LISTS = ("upload", "upload errors", "job", "job answer")


def escapes(decode: Callable, body: bytes, task: DapTask) -> None:
    """Decode `body`: anything but a message or a DecodeError fails the test."""
    try:
        decode(body, task)
    except DecodeError:
        return


@every_task
@every_kind
@given(chosen=st.data())
@settings(max_examples=10)
def test_every_message_comes_back(
    kind: Kind, task: DapTask, chosen: st.DataObject
) -> None:
    value = chosen.draw(kind.values(task))

    assert kind.decode(kind.encode(value, task), task) == value


@every_task
@every_kind
@given(chosen=st.data())
@settings(max_examples=3)
def test_a_message_cut_anywhere_is_refused_or_a_shorter_whole_one(
    kind: Kind, task: DapTask, chosen: st.DataObject
) -> None:
    whole = kind.encode(chosen.draw(kind.values(task)), task)

    for length in range(len(whole)):
        try:
            shorter = kind.decode(whole[:length], task)
        except DecodeError:
            continue
        assert kind.encode(shorter, task) == whole[:length]


@every_task
@every_kind
@given(chosen=st.data(), more=st.binary(min_size=1, max_size=4))
@settings(max_examples=5)
def test_bytes_after_the_end_are_refused(
    kind: Kind, task: DapTask, chosen: st.DataObject, more: bytes
) -> None:
    whole = kind.encode(chosen.draw(kind.values(task)), task)

    with pytest.raises(DecodeError):
        kind.decode(whole + more, task)


@every_task
@every_kind
@given(body=st.binary(max_size=120))
@settings(max_examples=15)
def test_noise_is_refused_as_such(kind: Kind, task: DapTask, body: bytes) -> None:
    escapes(kind.decode, body, task)


@every_task
@every_kind
@given(chosen=st.data())
@settings(max_examples=10)
def test_a_changed_byte_never_escapes_the_decoder(
    kind: Kind, task: DapTask, chosen: st.DataObject
) -> None:
    body = bytearray(kind.encode(chosen.draw(kind.values(task)), task))
    if body:
        body[chosen.draw(st.integers(0, len(body) - 1))] = chosen.draw(octets)

    escapes(kind.decode, bytes(body), task)


@every_kind
def test_a_length_that_is_not_there_is_refused_before_anything_is_copied(
    kind: Kind,
) -> None:
    for one in TASKS.values():
        for start in range(60):
            with pytest.raises(DecodeError):
                kind.decode(bytes(start) + b"\xff" * 200, one)


# golden encodings: each row of the drafts' tables, written out by hand

METADATA = ReportMetadata(bytes(range(16)), 7)
SEALED = HpkeCiphertext(1, b"enc", b"sealed")
SEALED_BYTES = b"\x01" + b"\x00\x03enc" + b"\x00\x00\x00\x06sealed"
OTHER = HpkeCiphertext(2, b"", b"")
OTHER_BYTES = b"\x02" + b"\x00\x00" + b"\x00\x00\x00\x00"
ID = bytes(range(16))
INTERVAL = Interval(10, 2)
INTERVAL_BYTES = bytes(7) + b"\x0a" + bytes(7) + b"\x02"
ENTRY = VerifyInit(METADATA, b"public", SEALED, b"share")
PING = (
    b"\x00\x00\x00\x0a" + b"\x00" + b"\x00\x00\x00\x05share"
)  # initialize, verifier share
PONG = (
    b"\x00\x00\x00\x0c" + b"\x02" + b"\x00\x00\x00\x07message"
)  # finish, verifier message
ENTRY_09 = ID + bytes(7) + b"\x07" + b"\x00\x00\x00\x06public" + SEALED_BYTES + PING
ENTRY_18 = (
    ID
    + bytes(7)
    + b"\x07"
    + b"\x00\x00"
    + b"\x00\x00\x00\x06public"
    + SEALED_BYTES
    + PING
)
I09, I18 = task(DAP_09), task(DAP_18)
B09, B18 = task(DAP_09, LEADER_SELECTED), task(DAP_18, LEADER_SELECTED)
CONFIGURATION = (
    b"\x06a task"
    + b"\x00\x16https://leader.example"
    + b"\x00\x16https://helper.example"
    + u64(3600)
    + u64(100)
    + b"\x01"
    + b"\x00\x00"
    + u32(2)
    + b"\x00\x08"
    + u64(255)
    + b"\x00\x14"
    + b"\x00\x01"
    + b"\x00\x10"
    + u64(10)
    + u64(10)
)
ANSWERS = [VerifyResp(ID, b"message"), VerifyResp(ID, ReportError.VDAF_VERIFY_ERROR)]

GOLDEN = {
    "09 report": (
        Report(METADATA, b"", SEALED, OTHER).encode(DAP_09),
        ID + bytes(7) + b"\x07" + bytes(4) + SEALED_BYTES + OTHER_BYTES,
    ),
    "18 report": (
        Report(METADATA, b"", SEALED, OTHER).encode(DAP_18),
        ID + bytes(7) + b"\x07" + b"\x00\x00" + bytes(4) + SEALED_BYTES + OTHER_BYTES,
    ),
    "config": (
        HpkeConfig(7, bytes(32)).encode(),
        b"\x07\x00\x20\x00\x01\x00\x01\x00\x20" + bytes(32),
    ),
    "18 upload errors": (
        messages.encode_upload_errors([(ID, ReportError.REPORT_TOO_EARLY)], DAP_18),
        ID + b"\x09",
    ),
    "plaintext share": (
        messages.encode_plaintext_share(b"share"),
        b"\x00\x00" + b"\x00\x00\x00\x05share",
    ),
    "18 configuration": (I18.configuration, CONFIGURATION),
    "09 configuration": (I09.configuration, b""),
    "09 input share aad": (
        messages.input_share_aad(I09, METADATA, b"public"),
        bytes(range(32)) + ID + bytes(7) + b"\x07" + b"\x00\x00\x00\x06public",
    ),
    "18 input share aad": (
        messages.input_share_aad(I18, METADATA, b"public"),
        bytes(range(32))
        + CONFIGURATION
        + ID
        + bytes(7)
        + b"\x07"
        + b"\x00\x00"
        + b"\x00\x00\x00\x06public",
    ),
    "09 input share info": (
        DAP_09.input_share_info(LEADER),
        b"dap-09 input share\x01\x02",
    ),
    "18 input share info": (
        DAP_18.input_share_info(HELPER),
        b"dap-18 input share\x01\x03",
    ),
    "09 job of an interval": (
        job_messages.encode_job(I09, [ENTRY]),
        bytes(4) + b"\x01" + u32(len(ENTRY_09)) + ENTRY_09,
    ),
    "09 job of one batch": (
        job_messages.encode_job(B09, []),
        bytes(4) + b"\x02" + B09.batch_id + bytes(4),
    ),
    "18 job of an interval": (
        job_messages.encode_job(I18, [ENTRY]),
        b"\x00" + bytes(4) + b"\x00\x00" + ENTRY_18,
    ),
    "18 job of one batch": (
        job_messages.encode_job(B18, []),
        b"\x00" + bytes(4) + b"\x00\x24" + b"\x00\x01" + b"\x00\x20" + B18.batch_id,
    ),
    "09 job answer": (
        job_messages.encode_job_answer(ANSWERS, DAP_09),
        u32(17 + len(PONG) + 18) + ID + b"\x00" + PONG + ID + b"\x02\x05",
    ),
    "18 job answer": (
        job_messages.encode_job_answer(ANSWERS, DAP_18),
        ID + b"\x00" + PONG + ID + b"\x02\x06",
    ),
    "09 collection request of an interval": (
        CollectionReq(Query(INTERVAL)).encode(I09),
        b"\x01" + INTERVAL_BYTES + bytes(4),
    ),
    "09 collection request of the current batch": (
        CollectionReq(Query(None)).encode(B09),
        b"\x02\x01" + bytes(4),
    ),
    "18 collection request of an interval": (
        CollectionReq(Query(INTERVAL)).encode(I18),
        b"\x01\x00\x10" + INTERVAL_BYTES + bytes(4) + b"\x00\x00",
    ),
    "18 collection request of one batch": (
        CollectionReq(Query(None)).encode(B18),
        b"\x02\x00\x00" + bytes(4) + b"\x00\x00",
    ),
    "09 collection": (
        Collection(5, INTERVAL, SEALED, OTHER).encode(I09),
        b"\x01" + bytes(7) + b"\x05" + INTERVAL_BYTES + SEALED_BYTES + OTHER_BYTES,
    ),
    "09 collection of one batch": (
        Collection(5, INTERVAL, SEALED, OTHER).encode(B09),
        b"\x02"
        + B09.batch_id
        + bytes(7)
        + b"\x05"
        + INTERVAL_BYTES
        + SEALED_BYTES
        + OTHER_BYTES,
    ),
    "18 collection": (
        Collection(5, INTERVAL, SEALED, OTHER).encode(I18),
        bytes(7) + b"\x05" + INTERVAL_BYTES + SEALED_BYTES + OTHER_BYTES,
    ),
    "09 share request": (
        AggregateShareReq(Query(INTERVAL), 5, bytes(32)).encode(I09),
        b"\x01" + INTERVAL_BYTES + bytes(4) + bytes(7) + b"\x05" + bytes(32),
    ),
    "18 share request": (
        AggregateShareReq(Query(None), 5, bytes(32)).encode(B18),
        b"\x02\x00\x00"
        + bytes(4)
        + b"\x00\x00"
        + b"\x02\x00\x20"
        + B18.batch_id
        + bytes(7)
        + b"\x05"
        + bytes(32),
    ),
    "09 share aad": (
        aggregate_share_aad(I09, Query(INTERVAL)),
        bytes(range(32)) + bytes(4) + b"\x01" + INTERVAL_BYTES,
    ),
    "18 share aad": (
        aggregate_share_aad(I18, Query(INTERVAL)),
        bytes(range(32))
        + CONFIGURATION
        + b"\x01\x00\x10"
        + INTERVAL_BYTES
        + bytes(4)
        + b"\x00\x00",
    ),
    "09 share info": (
        DAP_09.aggregate_share_info(LEADER),
        b"dap-09 aggregate share\x02\x00",
    ),
    "18 share info": (
        DAP_18.aggregate_share_info(HELPER),
        b"dap-18 aggregate share\x03\x00",
    ),
    "18 context": (I18.context, b"dap-18" + bytes(range(32))),
    "09 context": (I09.context, b""),
}


@pytest.mark.parametrize(("written", "expected"), GOLDEN.values(), ids=GOLDEN)
def test_a_message_lies_on_the_wire_as_the_drafts_say(
    written: bytes, expected: bytes
) -> None:
    assert written == expected


TYPES = {
    ("count", DAP_09): 0,
    ("sum", DAP_09): 1,
    ("sum_vec", DAP_09): 2,
    ("histogram", DAP_09): 3,
    ("count", DAP_18): 1,
    ("sum", DAP_18): 2,
    ("sum_vec", DAP_18): 3,
    ("histogram", DAP_18): 4,
    ("sum_vec_field64", DAP_09): 0xFFFF1003,
    ("sum_vec_field64", DAP_18): 0xFFFF1003,
    ("pine64", DAP_18): 0xFFFF1004,
}
CONFIGS = {
    "count": (VdafConfig(kind="count"), b""),
    "sum": (VdafConfig(kind="sum", most=255), u64(255)),
    "sum_vec": (
        VdafConfig(kind="sum_vec", length=10, most=15, chunk=6),
        u32(10) + u64(15) + u32(6),
    ),
    "histogram": (VdafConfig(kind="histogram", length=10, chunk=3), u32(10) + u32(3)),
    "sum_vec_field64": (
        VdafConfig(kind="sum_vec_field64", length=10, most=15, chunk=6, proofs=3),
        u32(10) + u64(15) + u32(6) + u8(3),
    ),
    "pine64": (
        VdafConfig(kind="pine64", length=10, most=15, chunk=6, norm_chunk=2, proofs=3),
        u32(10) + u64(15) + u32(6) + u32(2) + u8(3),
    ),
}


@pytest.mark.parametrize(("kind", "dap"), TYPES, ids=[f"{k} {d.tag}" for k, d in TYPES])
def test_a_type_has_the_drafts_number_and_parameters(
    kind: str, dap: DapVersion
) -> None:
    config, encoded = CONFIGS[kind]

    assert config.type_id(dap.vdaf) == TYPES[kind, dap]
    assert config.encode() == encoded


@pytest.mark.parametrize("dap", [DAP_09, DAP_18], ids=["09", "18"])
def test_the_stated_size_of_a_report_is_its_size(dap: DapVersion) -> None:
    for config, _ in CONFIGS.values():
        if config.kind == "pine64" and dap is DAP_09:
            continue
        vdaf = config.vdaf(dap.vdaf)
        measurement = {"count": 1, "sum": 1, "histogram": 1}.get(config.kind, [1] * 10)
        public, shares = vdaf.shard(
            measurement, bytes(16), bytes(vdaf.random_bytes), b"x"
        )
        sealed = [
            HpkeCiphertext(
                1, bytes(32), messages.encode_plaintext_share(share) + bytes(16)
            )
            for share in shares
        ]

        report = Report(METADATA, public, *sealed).encode(dap)

        assert len(report) == messages.report_bytes(vdaf, dap)


def test_a_key_of_another_suite_is_passed_over() -> None:
    other = u8(1) + u16(0x0010) + u16(hpke.KDF) + u16(hpke.AEAD) + opaque16(bytes(65))
    ours = HpkeConfig(2, bytes(range(32)))

    assert messages.decode_config_list(opaque16(other + ours.encode())) == [ours]


def test_a_key_of_another_size_is_passed_over() -> None:
    assert (
        messages.decode_config_list(opaque16(HpkeConfig(1, bytes(31)).encode())) == []
    )


def test_an_upload_of_nothing_is_refused() -> None:
    for dap in (DAP_09, DAP_18):
        with pytest.raises(DecodeError):
            messages.decode_upload(b"", dap)


def test_two_reports_at_once_are_not_dap_09() -> None:
    two = Report(METADATA, b"", SEALED, SEALED).encode(DAP_09) * 2

    with pytest.raises(DecodeError):
        messages.decode_upload(two, DAP_09)


EXTENDED = ID + u64(7) + opaque16(b"\x00\x01\x00\x00")
JOB_18 = job_messages.encode_job(I18, [])
UNKNOWN = {
    "extension of a report": (
        lambda body: messages.decode_upload(body, DAP_18),
        EXTENDED + opaque32(b"") + SEALED_BYTES * 2,
    ),
    "extension of a share": (
        messages.decode_plaintext_share,
        opaque16(b"\x00\x01\x00\x00") + opaque32(b""),
    ),
    "extension of a job": (
        lambda body: job_messages.decode_job(I18, body),
        u8(0) + opaque32(b"") + opaque16(b"\x00\x02\x00\x00"),
    ),
    "parameter of a job": (
        lambda body: job_messages.decode_job(I18, body),
        u8(0) + opaque32(b"x") + opaque16(b""),
    ),
    "verification key": (
        lambda body: job_messages.decode_job(I18, body),
        u8(1) + JOB_18[1:],
    ),
    "another batch": (
        lambda body: job_messages.decode_job(B09, body),
        bytes(4) + b"\x02" + bytes(32) + bytes(4),
    ),
    "another batch mode": (lambda body: job_messages.decode_job(B18, body), JOB_18),
    "reason": (lambda body: messages.decode_upload_errors(body, DAP_18), ID + b"\x0c"),
    "reserved reason": (
        lambda body: messages.decode_upload_errors(body, DAP_18),
        ID + b"\x00",
    ),
    "state": (lambda body: job_messages.decode_job_answer(body, DAP_18), ID + b"\x03"),
    "finished without a round": (
        lambda body: job_messages.decode_job_answer(body, DAP_18),
        ID + b"\x01",
    ),
    "ping-pong message": (
        lambda body: job_messages.decode_job_answer(body, DAP_18),
        ID + b"\x00" + opaque32(u8(1) + opaque32(b"") + opaque32(b"")),
    ),
    "query of another mode": (
        lambda body: CollectionReq.decode(body, I18),
        CollectionReq(Query(None)).encode(B18),
    ),
    "query for another batch": (
        lambda body: CollectionReq.decode(body, B09),
        b"\x02\x00" + bytes(32) + bytes(4),
    ),
    "extension of a collection": (
        lambda body: CollectionReq.decode(body, B18),
        b"\x02\x00\x00" + bytes(4) + opaque16(b"\x00\x01\x00\x00"),
    ),
    "a request that names two batches": (
        lambda body: AggregateShareReq.decode(body, I18),
        CollectionReq(Query(INTERVAL)).encode(I18)
        + collect_messages.encode_selector(I18, Query(Interval(10, 3)))
        + u64(1)
        + bytes(32),
    ),
}


@pytest.mark.parametrize(("decode", "body"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_known_is_refused(decode: Callable, body: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(body)


def test_a_query_may_name_the_one_batch_in_both_ways() -> None:
    by_id = b"\x02\x00" + B09.batch_id + bytes(4)

    assert CollectionReq.decode(by_id, B09) == CollectionReq(Query(None))


@every_task
@given(one=metadata, other=metadata, share=bytes_)
@settings(max_examples=10)
def test_a_share_is_bound_to_task_report_time_and_public_share(
    task: DapTask, one: ReportMetadata, other: ReportMetadata, share: bytes
) -> None:
    bound = messages.input_share_aad(task, one, share)

    assert bound != messages.input_share_aad(replace(task, id=bytes(32)), one, share)
    assert bound != messages.input_share_aad(task, one, share + b"\0")
    assert (bound == messages.input_share_aad(task, other, share)) == (one == other)


CHANGES = {
    "info": b"another",
    "leader": "https://other.example",
    "time_precision": 60,
    "min_batch_size": 99,
    "mode": LEADER_SELECTED,
    "expires": 21 * HOUR,
    "vdaf_config": VdafConfig(kind="sum", most=254),
}


@pytest.mark.parametrize("field", CHANGES)
def test_another_configuration_is_another_task_and_opens_none_of_its_shares(
    field: str,
) -> None:
    other = replace(I18, **{field: CHANGES[field]})

    assert other.derived().id != I18.derived().id
    assert messages.input_share_aad(other, METADATA, b"") != messages.input_share_aad(
        I18, METADATA, b""
    )


def test_the_id_of_a_task_follows_from_its_configuration() -> None:
    import hashlib

    salt = hashlib.sha256(b"dap-taskprov task id").digest()

    assert I18.derived().id == hashlib.sha256(salt + CONFIGURATION).digest()
    assert opaque8(b"a task") == CONFIGURATION[:7]
