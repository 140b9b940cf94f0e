"""A release is believed only if both halves sign it, it is newer, large, fresh and for us."""

import hashlib
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.errors import ModelRejected
from tactful.protocol.documents.model_release import (
    SIGNED_AS,
    ModelRelease,
    SignedRelease,
    pack,
)

LEADER, HELPER, STRANGER = (
    Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(3)
)
KEYS = tuple(key.public_key().public_bytes_raw() for key in (LEADER, HELPER))
NOW = 1_700_000_000
FILE = pack({"popularity": np.ones(4)})
RELEASE = ModelRelease(
    version=7,
    model="films",
    kind="popularity",
    catalog="c" * 64,
    items=4,
    tasks=("a" * 64, "b" * 64),
    batch_size=120,
    epsilon=7.99,
    delta=1e-6,
    rho="3/4",
    adjacency="zero_out",
    unit="device",
    created=NOW - 3600,
    expires=NOW + 3600,
    file=hashlib.sha256(FILE).hexdigest(),
    placement="aggregator",
)
WANTED = {
    "model": "films",
    "catalog": "c" * 64,
    "newer_than": 6,
    "min_batch_size": 100,
    "now": NOW,
}

releases = st.builds(
    replace,
    st.just(RELEASE),
    version=st.integers(),
    model=st.text(max_size=8),
    kind=st.sampled_from(["personal", "popularity"]),
    tasks=st.lists(st.text(max_size=8), max_size=4).map(tuple),
    batch_size=st.integers(),
    epsilon=st.floats(allow_nan=False, allow_infinity=False),
    rho=st.text(max_size=8),
)


def signed(release: ModelRelease = RELEASE, **by: Ed25519PrivateKey) -> SignedRelease:
    signers = {"leader": LEADER, "helper": HELPER, **by}
    message = SIGNED_AS + release.document
    return SignedRelease(
        release, {role: key.sign(message) for role, key in signers.items()}
    )


@given(release=releases)
@settings(max_examples=50)
def test_a_document_comes_back_as_the_same_release_in_the_same_bytes(
    release: ModelRelease,
) -> None:
    again = ModelRelease.parse(release.document)

    assert again == release
    assert again.document == release.document


def test_a_signed_release_comes_back() -> None:
    assert SignedRelease.decode(signed().encode()) == signed()


CRIMES = {
    "unknown field": ("colour", {"colour": "red"}),
    "a version as text": ("version", {"version": "7"}),
    "a version of truth": ("version", {"version": True}),
    "an unknown kind": ("kind", {"kind": "neural"}),
    "tasks that are no list": ("tasks", {"tasks": "a" * 64}),
    "a task that is no text": ("tasks.0", {"tasks": [1]}),
    "an unknown unit": ("unit", {"unit": "event"}),
    "no file": ("file", {"file": None}),
}


@pytest.mark.parametrize(("field", "changes"), CRIMES.values(), ids=CRIMES)
def test_a_wrong_release_is_refused_by_the_name_of_its_field(
    field: str, changes: dict[str, object]
) -> None:
    with pytest.raises(ModelRejected, match=rf"^release\.{field}: "):
        ModelRelease.parse(json.dumps({**asdict(RELEASE), **changes}).encode())


@pytest.mark.parametrize("name", asdict(RELEASE))
def test_a_release_without_any_of_its_fields_is_refused(name: str) -> None:
    kept = {key: value for key, value in asdict(RELEASE).items() if key != name}

    with pytest.raises(ModelRejected, match=rf"^release\.{name}: "):
        ModelRelease.parse(json.dumps(kept).encode())


@given(body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=50)
def test_from_noise_only_a_refusal_escapes(body: bytes) -> None:
    for read in (ModelRelease.parse, SignedRelease.decode):
        with pytest.raises(ModelRejected):
            read(body)


def test_a_release_by_both_halves_for_this_device_is_verified() -> None:
    assert signed().verify(*KEYS, **WANTED) == RELEASE


REFUSALS = {
    "rolled back": ("version", {"version": 5}, {}),
    "the same again": ("version", {"version": 6}, {}),
    "another model": ("model", {"model": "books"}, {}),
    "another catalog": ("catalog", {"catalog": "d" * 64}, {}),
    "a small batch": ("batch_size", {"batch_size": 99}, {}),
    "expired": ("expires", {}, {"now": RELEASE.expires}),
    "from the future": ("created", {}, {"now": RELEASE.created - 86_401}),
}


@pytest.mark.parametrize(
    ("field", "changes", "wanted"), REFUSALS.values(), ids=REFUSALS
)
def test_an_unfit_release_is_refused_by_the_name_of_what_is_wrong(
    field: str, changes: dict[str, object], wanted: dict[str, object]
) -> None:
    with pytest.raises(ModelRejected, match=rf"^release\.{field}: "):
        signed(replace(RELEASE, **changes)).verify(*KEYS, **{**WANTED, **wanted})


@pytest.mark.parametrize("role", ["leader", "helper"])
def test_a_release_by_a_stranger_is_refused_by_the_role_he_plays(role: str) -> None:
    with pytest.raises(ModelRejected, match=rf"^release\.signatures\.{role}: "):
        signed(**{role: STRANGER}).verify(*KEYS, **WANTED)


@pytest.mark.parametrize("role", ["leader", "helper"])
def test_one_half_alone_releases_nothing(role: str) -> None:
    kept = {name: value for name, value in signed().signatures.items() if name != role}

    with pytest.raises(ModelRejected, match=rf"^release\.signatures\.{role}: "):
        SignedRelease(RELEASE, kept).verify(*KEYS, **WANTED)


def test_a_release_changed_after_it_was_signed_is_refused() -> None:
    with pytest.raises(ModelRejected, match=r"^release\.signatures\.leader: "):
        SignedRelease(replace(RELEASE, epsilon=1.0), signed().signatures).verify(
            *KEYS, **WANTED
        )


def test_a_signature_over_a_task_signs_no_release() -> None:
    message = b"tactful-1 task" + RELEASE.document
    others = {"leader": LEADER.sign(message), "helper": HELPER.sign(message)}

    with pytest.raises(ModelRejected, match=r"^release\.signatures\.leader: "):
        SignedRelease(RELEASE, others).verify(*KEYS, **WANTED)


def test_the_file_that_was_signed_opens() -> None:
    assert signed().opened(FILE)["popularity"].tolist() == [1.0] * 4


@pytest.mark.parametrize("file", [FILE[:-1], FILE + b"\0", FILE[:-1] + b"\1", b""])
def test_any_other_file_is_refused(file: bytes) -> None:
    with pytest.raises(ModelRejected, match=r"^release\.file: "):
        signed().opened(file)


def test_a_signed_file_that_is_no_model_is_refused() -> None:
    release = replace(RELEASE, file=hashlib.sha256(b"noise").hexdigest())

    with pytest.raises(ModelRejected, match=r"^release\.file: model file: "):
        signed(release).opened(b"noise")
