"""What a pair published stays what it was: nothing changes, moves or goes unseen."""

import hashlib
import json
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.errors import ProtocolError
from tactful.protocol.log import merkle, transcript
from tactful.protocol.log.transcript import (
    BatchRecord,
    LogEntry,
    Proof,
    ProvableLog,
    SignedCheckpoint,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key().public_bytes_raw()
sizes = st.integers(1, 70)


def leaves(count: int, salt: bytes = b"") -> list[bytes]:
    return [merkle.leaf(salt + bytes([n])) for n in range(count)]


def log(count: int, salt: str = "") -> list[LogEntry]:
    return [
        transcript.follow(n, "task", f"{salt}{n}".encode(), 10 * n)
        for n in range(count)
    ]


def provable(entries: list[LogEntry]) -> ProvableLog:
    return ProvableLog(entry.encode() for entry in entries)


def root_by_definition(hashed: list[bytes]) -> bytes:
    """The recursive definition of RFC 6962, section 2.1, on its own."""
    if len(hashed) == 1:
        return hashed[0]
    split = 1
    while 2 * split < len(hashed):
        split *= 2
    left, right = root_by_definition(hashed[:split]), root_by_definition(hashed[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_heads_are_those_of_the_rfc() -> None:
    """The eight inputs and heads of the reference tests that accompany RFC 6962."""
    inputs = [
        "", "00", "10", "2021", "3031", "40414243",
        "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    ]  # fmt: skip
    heads = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    hashed = [merkle.leaf(bytes.fromhex(text)) for text in inputs]

    assert {n: merkle.root(hashed[:n]).hex() for n in heads} == heads
    assert merkle.root([]) == hashlib.sha256(b"").digest()


@given(size=sizes, prefix=sizes)
def test_a_tree_that_keeps_its_nodes_has_the_roots_of_the_definition(
    size, prefix
) -> None:
    hashed = leaves(size)
    tree = merkle.MerkleTree(hashed)

    assert tree.root() == root_by_definition(hashed)
    assert tree.root(min(prefix, size)) == root_by_definition(
        hashed[: min(prefix, size)]
    )


def test_a_log_that_is_extended_is_the_log_that_is_read_at_once() -> None:
    entries = log(9)
    grown = provable(entries[:4])
    grown.extend(entry.encode() for entry in entries[4:])

    assert grown.signed(KEY) == transcript.signed(entries, KEY)
    with pytest.raises(ProtocolError, match="entry 9 does not follow"):
        grown.extend([entries[3].encode()])


def test_a_proof_from_a_long_log_costs_less_than_five_milliseconds() -> None:
    """Reading and hashing 5,000 entries for each proof took 5.9 seconds of CPU."""
    long_log = provable(log(5000))
    name = sha256("2500")

    started = time.process_time()
    for _ in range(20):
        assert long_log.prove(name, 1234, KEY) is not None
    assert (time.process_time() - started) / 20 < 0.005


@given(size=sizes, place=st.integers(0, 69))
def test_every_leaf_is_proved_to_be_where_it_is_and_nowhere_else(
    size: int, place: int
) -> None:
    place %= size
    hashed = leaves(size)
    path, head = merkle.MerkleTree(hashed).inclusion(place), merkle.root(hashed)

    assert merkle.includes(hashed[place], place, size, path, head)
    assert not merkle.includes(
        hashed[place], place, size, path, merkle.root(leaves(size, b"x"))
    )
    assert not merkle.includes(merkle.leaf(b"other"), place, size, path, head)
    assert not merkle.includes(hashed[place], place, size, [*path, head], head)
    assert not merkle.includes(hashed[place], size, size, path, head)
    if size > 1:
        assert not merkle.includes(hashed[place], (place + 1) % size, size, path, head)
        assert not merkle.includes(hashed[place], place, size, path[:-1], head)


@given(size=sizes, old=sizes)
def test_growth_is_proved_and_a_fork_is_not(size: int, old: int) -> None:
    old = min(old, size)
    hashed = leaves(size)
    before, head = merkle.root(hashed[:old]), merkle.root(hashed)
    proof = merkle.MerkleTree(hashed).consistency(old)

    assert merkle.grew(before, old, head, size, proof)
    fork = merkle.root(leaves(old, b"x"))
    assert not merkle.grew(fork, old, head, size, proof)
    assert not merkle.grew(before, old, merkle.root(leaves(size, b"x")), size, proof)
    assert not merkle.grew(head, size + 1, before, old, proof)
    if proof:
        assert not merkle.grew(before, old, head, size, proof[:-1])
        assert not merkle.grew(before, old, head, size, [*proof, head])


@given(size=sizes, since=st.integers(0, 70), place=st.integers(0, 69))
@settings(max_examples=40)
def test_a_proof_survives_its_way_and_says_what_it_says(
    size: int, since: int, place: int
) -> None:
    entries, place, since = log(size), place % size, min(since, size)
    old = transcript.checkpoint(entries[:since]) if since else None

    proof = provable(entries).prove(sha256(f"{place}"), since, KEY)

    assert proof is not None
    read = Proof.decode(proof.encode())
    head = read.verify(f"{place}".encode(), "task", PUBLIC, old)
    assert head == transcript.checkpoint(entries)


def test_what_is_not_logged_has_no_proof() -> None:
    assert provable(log(5)).prove(sha256("unlogged"), 0, KEY) is None
    assert provable(log(5)).prove(sha256("1"), 6, KEY) is None


def proof(count: int = 6, since: int = 3, salt: str = "") -> Proof:
    made = provable(log(count, salt)).prove(sha256(f"{salt}2"), since, KEY)
    assert made is not None
    return made


def test_a_split_view_is_detected_and_both_heads_are_evidence() -> None:
    seen = transcript.signed(log(3, "for you "), KEY)
    mine = seen.verify(PUBLIC)

    with pytest.raises(ProtocolError, match=r"log\.consistency: .*keep both heads"):
        proof().verify(b"2", "task", PUBLIC, mine)
    other = transcript.signed(log(3), KEY)
    assert other.verify(PUBLIC).size == mine.size
    assert (
        other.checkpoint.root != mine.root
    )  # two signatures that only one key can make


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"entry": log(6)[3].encode()}, "entry"),
        ({"inclusion": ()}, "inclusion"),
        ({"consistency": ()}, "consistency"),
        (
            {"checkpoint": SignedCheckpoint(proof().checkpoint.checkpoint, bytes(64))},
            "signature",
        ),
    ],
)
def test_each_part_of_a_proof_is_needed(wrong: dict[str, object], named: str) -> None:
    since = transcript.checkpoint(log(3))

    with pytest.raises(ProtocolError, match=rf"log\.{named}"):
        replace(proof(), **wrong).verify(b"2", "task", PUBLIC, since)


def test_a_document_of_another_kind_is_not_what_was_logged() -> None:
    with pytest.raises(ProtocolError, match=r"log\.entry"):
        proof().verify(b"2", "release", PUBLIC, None)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"index": 9}, {"time": 99}])
def test_an_entry_changed_afterwards_changes_the_head(
    place: int, change: dict[str, object]
) -> None:
    entries = log(4)
    changed = [
        *entries[:place],
        replace(entries[place], **change),
        *entries[place + 1 :],
    ]

    if "sha256" in change:
        assert transcript.checkpoint(changed) != transcript.checkpoint(entries)
    else:
        with pytest.raises(ProtocolError, match=rf"entry ({place}|{place + 1}) "):
            transcript.checkpoint(changed)


@given(line=st.text(max_size=60))
@settings(max_examples=50)
def test_a_line_that_is_no_entry_is_refused(line: str) -> None:
    for read in (transcript.parse, SignedCheckpoint.decode, BatchRecord.parse):
        with pytest.raises(ProtocolError):
            read(line)
    with pytest.raises(ProtocolError):
        Proof.decode(line.encode())


def test_an_entry_with_a_field_too_many_or_another_form_is_refused() -> None:
    line = log(1)[0].encode()
    for wrong in (line[:-1] + ',"colour":"red"}', line.replace(":", ": ", 1)):
        with pytest.raises(ProtocolError):
            transcript.parse(wrong)


def test_the_signed_head_is_the_same_whenever_it_is_asked_for() -> None:
    first, second = (transcript.signed(log(7), KEY).encode() for _ in range(2))

    assert first == second
    assert json.loads(first)["size"] == 7
