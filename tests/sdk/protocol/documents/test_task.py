"""A task is one document in one form, and only both halves' signatures make it one to answer."""

import json
from dataclasses import asdict, replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.errors import TaskRejected
from tactful.protocol.documents.task import MAX_DOCUMENT, SIGNED_AS, SignedTask, Task

LEADER, HELPER, STRANGER = (
    Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(3)
)
KEYS = tuple(key.public_key().public_bytes_raw() for key in (LEADER, HELPER))
NOW = 1_700_000_000
TASK = Task(
    version="tactful-1",
    model="films",
    round=0,
    rounds=3,
    kind="popularity",
    catalog="c" * 64,
    items=200,
    length=200,
    levels=14,
    box=3,
    family="rounded_gaussian",
    sigma2="12345/16",
    adjacency="zero_out",
    unit="device",
    epsilon=8.0,
    delta=1e-6,
    min_batch_size=100,
    leader="https://leader.example",
    helper="https://helper.example",
    opens=NOW - 3600,
    expires=NOW + 3600,
    guide=None,
    nonce="0" * 32,
)
LATER_ROUND = {"round": 1, "kind": "subspace", "length": 512, "guide": "d" * 64}

tasks = st.builds(
    replace,
    st.sampled_from([TASK, replace(TASK, **LATER_ROUND)]),
    model=st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True),
    catalog=st.text(max_size=20),
    levels=st.integers(1, 127).map(lambda half: 2 * half),
    protocol=st.sampled_from(["dap-09", "dap-18"]),
    vdaf=st.sampled_from(["sum_vec_field64", "pine64"]),
    proofs=st.integers(3, 16),
    sigma2=st.from_regex(r"[1-9][0-9]{0,39}/[1-9][0-9]{0,39}", fullmatch=True),
    epsilon=st.floats(0, exclude_min=True, allow_nan=False, allow_infinity=False),
    delta=st.floats(0, 1, exclude_min=True, exclude_max=True),
    min_batch_size=st.integers(1, 2**32),
)


def document(**changes: object) -> bytes:
    """The task's document with fields changed, or left out where the change is `...`."""
    fields = {**asdict(TASK), **changes}
    kept = {name: value for name, value in fields.items() if value is not ...}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()


def signed(task: Task = TASK, **by: Ed25519PrivateKey) -> SignedTask:
    signers = {"leader": LEADER, "helper": HELPER, **by}
    message = SIGNED_AS + task.document
    return SignedTask(task, {role: key.sign(message) for role, key in signers.items()})


@given(task=tasks)
def test_a_document_comes_back_as_the_same_task_in_the_same_bytes(task: Task) -> None:
    again = Task.parse(task.document)

    assert again == task
    assert again.document == task.document
    assert again.id == task.id


@given(task=tasks)
@settings(max_examples=25)
def test_a_signed_task_comes_back(task: Task) -> None:
    assert SignedTask.decode(signed(task).encode()) == signed(task)


def test_the_order_of_fields_does_not_change_the_task() -> None:
    shuffled = json.dumps(dict(reversed(asdict(TASK).items())), indent=4).encode()

    assert Task.parse(shuffled).id == TASK.id


OTHERS = {
    "model": "books",
    "rounds": 4,
    "catalog": "e" * 64,
    "items": 201,
    "length": 1024,
    "levels": 16,
    "box": 4,
    "family": "discrete_gaussian",
    "sigma2": "12346/16",
    "adjacency": "replace_one",
    "epsilon": 7.5,
    "delta": 1e-7,
    "min_batch_size": 99,
    "leader": "https://other.example",
    "helper": "https://other.example",
    "opens": NOW,
    "expires": NOW + 1,
    "guide": "e" * 64,
    "protocol": "dap-09",
    "vdaf": "pine64",
    "proofs": 4,
}


@pytest.mark.parametrize(("name", "value"), OTHERS.items())
def test_a_task_with_another_field_is_another_task(name: str, value: object) -> None:
    task = replace(TASK, **LATER_ROUND)

    assert replace(task, **{name: value}).id != task.id


CRIMES = {
    "unknown field": ("colour", {"colour": "red"}),
    "missing field": ("sigma2", {"sigma2": ...}),
    "another version": ("version", {"version": "tactful-2"}),
    "a number as text": ("items", {"items": "200"}),
    "a number with a fraction": ("items", {"items": 200.5}),
    "true as a number": ("min_batch_size", {"min_batch_size": True}),
    "text for a float": ("epsilon", {"epsilon": "8"}),
    "an unknown kind": ("kind", {"kind": "everything"}),
    "an unknown family": ("family", {"family": "laplace"}),
    "a model with a slash": ("model", {"model": "../films"}),
    "a model without a name": ("model", {"model": ""}),
    "a model with a line end": ("model", {"model": "films\n"}),
    "a negative round": ("round", {"round": -1}),
    "a round after the last": ("round", {"round": 3}),
    "more rounds than any plan": ("round", {"rounds": 17}),
    "no items": ("items", {"items": 0, "length": 0}),
    "a guide for popularity": ("guide", {"guide": "d" * 64}),
    "no guide for a subspace": ("guide", {"kind": "subspace"}),
    "a length that is not the items'": ("length", {"length": 199}),
    "no noise": ("sigma2", {"sigma2": "0/1"}),
    "noise over nothing": ("sigma2", {"sigma2": "1/0"}),
    "negative noise": ("sigma2", {"sigma2": "-1/2"}),
    "noise as a decimal": ("sigma2", {"sigma2": "1.5"}),
    "endless noise": ("sigma2", {"sigma2": "9" * 41 + "/1"}),
    "epsilon of zero": ("epsilon", {"epsilon": 0.0}),
    "epsilon without end": ("epsilon", {"epsilon": float("inf")}),
    "epsilon that is no number": ("epsilon", {"epsilon": float("nan")}),
    "delta of one": ("delta", {"delta": 1.0}),
    "delta of zero": ("delta", {"delta": 0.0}),
    "a batch of nobody": ("min_batch_size", {"min_batch_size": 0}),
    "one half alone": ("helper", {"helper": TASK.leader}),
    "an odd number of levels": ("levels", {"levels": 15}),
    "levels beyond a byte": ("levels", {"levels": 256}),
    "no box": ("box", {"box": 0}),
    "a vector without end": ("length", {"items": 1 << 23, "length": 1 << 23}),
    "too few proofs to be sound": ("proofs", {"proofs": 2}),
    "an unknown proof": ("vdaf", {"vdaf": "none"}),
    "a version that is not spoken": ("protocol", {"protocol": "dap-13"}),
    "a round that never opens": ("expires", {"expires": TASK.opens}),
}


@pytest.mark.parametrize(("field", "changes"), CRIMES.values(), ids=CRIMES)
def test_a_wrong_task_is_refused_by_the_name_of_its_field(
    field: str, changes: dict[str, object]
) -> None:
    with pytest.raises(TaskRejected, match=rf"^task\.{field}: "):
        Task.parse(document(**changes))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 10_000])
def test_what_is_no_document_is_refused(body: bytes) -> None:
    with pytest.raises(TaskRejected, match=r"^task\.document: "):
        Task.parse(body)


def test_a_document_without_end_is_not_read() -> None:
    with pytest.raises(TaskRejected, match=f"more than {MAX_DOCUMENT}"):
        Task.parse(document() + b" " * MAX_DOCUMENT)


@given(body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_from_noise_only_a_refusal_escapes(body: bytes) -> None:
    for read in (Task.parse, SignedTask.decode):
        with pytest.raises(TaskRejected):
            read(body)


@given(
    outer=st.dictionaries(
        st.sampled_from(["document", "signatures"]), st.text() | st.none()
    )
)
@settings(max_examples=50)
def test_from_any_json_only_a_refusal_escapes(outer: dict[str, object]) -> None:
    with pytest.raises(TaskRejected):
        SignedTask.decode(json.dumps(outer).encode())


def test_a_task_by_both_halves_is_verified() -> None:
    assert signed().verify(*KEYS, now=NOW) == TASK


@pytest.mark.parametrize("role", ["leader", "helper"])
def test_a_task_by_a_stranger_is_refused_by_the_role_he_plays(role: str) -> None:
    with pytest.raises(TaskRejected, match=rf"^task\.signatures\.{role}: "):
        signed(**{role: STRANGER}).verify(*KEYS, now=NOW)


@pytest.mark.parametrize("role", ["leader", "helper"])
def test_one_half_alone_agrees_on_nothing(role: str) -> None:
    kept = {name: value for name, value in signed().signatures.items() if name != role}

    with pytest.raises(TaskRejected, match=rf"^task\.signatures\.{role}: "):
        SignedTask(TASK, kept).verify(*KEYS, now=NOW)


def test_swapped_signatures_are_refused() -> None:
    with pytest.raises(TaskRejected, match=r"^task\.signatures\.leader: "):
        signed(leader=HELPER, helper=LEADER).verify(*KEYS, now=NOW)


def test_a_task_changed_after_it_was_signed_is_refused() -> None:
    changed = SignedTask(replace(TASK, min_batch_size=1), signed().signatures)

    with pytest.raises(TaskRejected, match=r"^task\.signatures\.leader: "):
        changed.verify(*KEYS, now=NOW)


def test_a_signature_for_another_purpose_is_refused() -> None:
    bare = {"leader": LEADER.sign(TASK.document), "helper": HELPER.sign(TASK.document)}

    with pytest.raises(TaskRejected, match=r"^task\.signatures\.leader: "):
        SignedTask(TASK, bare).verify(*KEYS, now=NOW)


@pytest.mark.parametrize(
    ("now", "field"),
    [(TASK.opens - 1, "opens"), (TASK.expires, "expires"), (2**40, "expires")],
)
def test_a_task_out_of_its_time_is_refused(now: int, field: str) -> None:
    with pytest.raises(TaskRejected, match=rf"^task\.{field}: "):
        signed().verify(*KEYS, now=now)


@pytest.mark.parametrize("now", [TASK.opens, TASK.expires - 1])
def test_a_task_is_open_from_its_first_to_its_last_second(now: int) -> None:
    assert signed().verify(*KEYS, now=now) == TASK


def test_a_signed_task_buried_in_brackets_is_refused() -> None:
    with pytest.raises(TaskRejected):
        SignedTask.decode(b"[" * 200_000)
