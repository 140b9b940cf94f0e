"""Every message comes back as it was sent, and nothing else is taken for one."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.errors import DecodeError
from tactful.protocol import hpke, messages
from tactful.protocol.codec import Reader, opaque16, opaque32, u8, u16, u64
from tactful.protocol.messages import (
    AggregateShareReq,
    HpkeCiphertext,
    HpkeConfig,
    Report,
    ReportError,
    ReportMetadata,
    VerifyInit,
    VerifyResp,
)

ids = st.binary(min_size=16, max_size=16)
bytes_ = st.binary(max_size=40)
octets = st.integers(0, 255)
reasons = st.sampled_from(ReportError)
metadata = st.builds(ReportMetadata, report_id=ids, time=st.integers(0, 2**64 - 1))
ciphertexts = st.builds(HpkeCiphertext, config_id=octets, enc=bytes_, payload=bytes_)
reports = st.builds(
    Report, metadata=metadata, public_share=bytes_, leader=ciphertexts, helper=ciphertexts
)
entries = st.builds(VerifyInit, metadata=metadata, public_share=bytes_, helper=ciphertexts)
answers = st.builds(VerifyResp, report_id=ids, reason=st.none() | reasons)
configs = st.builds(HpkeConfig, config_id=octets, public_key=st.binary(min_size=32, max_size=32))
share_requests = st.builds(
    AggregateShareReq,
    count=st.integers(0, 2**64 - 1),
    checksum=st.binary(min_size=32, max_size=32),
)


@dataclass(frozen=True)
class Kind:
    """How one message is written and read."""

    values: st.SearchStrategy
    encode: Callable
    decode: Callable


def joined(parts: list) -> bytes:
    return b"".join(part.encode() for part in parts)


KINDS = {
    "config list": Kind(
        st.lists(configs, min_size=1, max_size=3),
        messages.encode_config_list,
        messages.decode_config_list,
    ),
    "upload": Kind(st.lists(reports, min_size=1, max_size=3), joined, messages.decode_upload),
    "upload errors": Kind(
        st.lists(st.tuples(ids, reasons), min_size=1, max_size=3),
        messages.encode_upload_errors,
        messages.decode_upload_errors,
    ),
    "plaintext share": Kind(
        bytes_, messages.encode_plaintext_share, messages.decode_plaintext_share
    ),
    "job": Kind(
        st.lists(entries, min_size=1, max_size=3), messages.encode_job, messages.decode_job
    ),
    "job answer": Kind(
        st.lists(answers, min_size=1, max_size=3), joined, messages.decode_job_answer
    ),
    "share request": Kind(share_requests, AggregateShareReq.encode, AggregateShareReq.decode),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)

METADATA = ReportMetadata(bytes(range(16)), 7)
SEALED = HpkeCiphertext(1, b"enc", b"sealed")
EXTENDED = METADATA.report_id + u64(7) + opaque16(b"\x00\x01\x00\x00")


def escapes(decode: Callable, body: bytes) -> None:
    """Decode `body`: anything but a message or a DecodeError fails the test."""
    try:
        decode(body)
    except DecodeError:
        return


@every_kind
@given(chosen=st.data())
@settings(max_examples=25)
def test_every_message_comes_back(kind: Kind, chosen: st.DataObject) -> None:
    value = chosen.draw(kind.values)

    assert kind.decode(kind.encode(value)) == value


@every_kind
@given(chosen=st.data())
@settings(max_examples=5)
def test_a_message_cut_anywhere_is_refused_or_a_shorter_whole_one(
    kind: Kind, chosen: st.DataObject
) -> None:
    whole = kind.encode(chosen.draw(kind.values))

    for length in range(len(whole)):
        try:
            shorter = kind.decode(whole[:length])
        except DecodeError:
            continue
        assert kind.encode(shorter) == whole[:length]


@pytest.mark.parametrize("name", ["config list", "plaintext share", "share request"])
@given(chosen=st.data(), more=st.binary(min_size=1, max_size=4))
@settings(max_examples=10)
def test_bytes_after_the_end_are_refused(name: str, chosen: st.DataObject, more: bytes) -> None:
    kind = KINDS[name]
    whole = kind.encode(chosen.draw(kind.values))

    with pytest.raises(DecodeError):
        kind.decode(whole + more)


@every_kind
@given(body=st.binary(max_size=120))
@settings(max_examples=50)
def test_noise_is_refused_as_such(kind: Kind, body: bytes) -> None:
    escapes(kind.decode, body)


@every_kind
@given(chosen=st.data())
@settings(max_examples=25)
def test_a_changed_byte_never_escapes_the_decoder(kind: Kind, chosen: st.DataObject) -> None:
    body = bytearray(kind.encode(chosen.draw(kind.values)))
    body[chosen.draw(st.integers(0, len(body) - 1))] = chosen.draw(octets)

    escapes(kind.decode, bytes(body))


def test_a_report_cut_anywhere_is_refused() -> None:
    whole = Report(METADATA, b"", SEALED, SEALED).encode()

    for length in range(len(whole)):
        with pytest.raises(DecodeError):
            messages.decode_upload(whole[:length])


def test_an_entry_of_a_job_cut_anywhere_is_refused() -> None:
    head = messages.encode_job([])
    whole = messages.encode_job([VerifyInit(METADATA, b"", SEALED)])

    for length in set(range(len(whole))) - {len(head)}:
        with pytest.raises(DecodeError):
            messages.decode_job(whole[:length])


def test_an_upload_of_nothing_is_refused() -> None:
    with pytest.raises(DecodeError, match="no report"):
        messages.decode_upload(b"")


def test_a_report_lies_on_the_wire_as_the_draft_says() -> None:
    sealed = b"\x01" + b"\x00\x03enc" + b"\x00\x00\x00\x06sealed"

    assert Report(METADATA, b"", SEALED, SEALED).encode() == (
        bytes(range(16)) + bytes(7) + b"\x07" + b"\x00\x00" + bytes(4) + sealed + sealed
    )


def test_a_key_of_another_suite_is_passed_over() -> None:
    other = u8(1) + u16(0x0010) + u16(hpke.KDF) + u16(hpke.AEAD) + opaque16(bytes(65))
    ours = HpkeConfig(2, bytes(range(32)))

    assert messages.decode_config_list(opaque16(other + ours.encode())) == [ours]


def test_a_key_of_another_size_is_passed_over() -> None:
    assert messages.decode_config_list(opaque16(HpkeConfig(1, bytes(31)).encode())) == []


EXTENSIONS = {
    "of a report": (messages.decode_upload, EXTENDED + opaque32(b"") + SEALED.encode() * 2),
    "of a share": (messages.decode_plaintext_share, opaque16(b"\x00\x01\x00\x00") + opaque32(b"")),
    "of a job": (messages.decode_job, u8(0) + opaque32(b"") + opaque16(b"x")),
    "parameter of a job": (messages.decode_job, u8(0) + opaque32(b"x") + opaque16(b"")),
    "verification key of a job": (messages.decode_job, u8(1) + opaque32(b"") + opaque16(b"")),
    "proof of an entry": (
        messages.decode_job,
        messages.encode_job([])
        + METADATA.encode()
        + opaque32(b"")
        + SEALED.encode()
        + opaque32(b"proof"),
    ),
    "reason": (messages.decode_upload_errors, bytes(16) + b"\x0c"),
    "state": (messages.decode_job_answer, bytes(16) + b"\x00"),
}


@pytest.mark.parametrize(("decode", "body"), EXTENSIONS.values(), ids=EXTENSIONS)
def test_what_is_not_known_is_refused(decode: Callable, body: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(body)


@given(one=metadata, other=metadata, share=bytes_)
@settings(max_examples=25)
def test_a_share_is_bound_to_task_report_time_and_public_share(
    one: ReportMetadata, other: ReportMetadata, share: bytes
) -> None:
    bound = messages.input_share_aad(bytes(32), b"{}", one, share)

    assert bound != messages.input_share_aad(bytes(31) + b"\1", b"{}", one, share)
    assert bound != messages.input_share_aad(bytes(32), b"{ }", one, share)
    assert bound != messages.input_share_aad(bytes(32), b"{}", one, share + b"\0")
    assert (bound == messages.input_share_aad(bytes(32), b"{}", other, share)) == (one == other)


def test_a_report_is_read_where_the_one_before_ends() -> None:
    reader = Reader(Report(METADATA, b"", SEALED, SEALED).encode() * 2, "two")

    assert Report.read(reader) == Report.read(reader)
    reader.end()
