"""Shares alone say nothing, together they are the measurement; whoever cheats is found."""

import secrets
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.errors import DecodeError, InvalidInput, ProofRejected
from tactful.vdaf.circuit import Circuit
from tactful.vdaf.field import Elements
from tactful.vdaf.instances import (
    best_chunk,
    count,
    histogram,
    sum_,
    sum_vec,
    sum_vec_multiproof,
)
from tactful.vdaf.pine import pine64
from tactful.vdaf.pine_circuit import Layout
from tactful.vdaf.prio3 import Prio3
from tactful.vdaf.vdaf import Measurement, Received, Vdaf
from tactful.vdaf.version import VDAF_08, VDAF_18

KEY = {16: bytes(range(16)), 32: bytes(range(32))}
CONTEXT = b"dap-18" + bytes(32)
VERSIONS = [VDAF_18, VDAF_08]
versions = pytest.mark.parametrize("version", VERSIONS, ids=["18", "08"])


def sharded(vdaf: Vdaf, measurement: Measurement) -> list[Received]:
    """A report as each aggregator holds it."""
    nonce = secrets.token_bytes(16)
    random = secrets.token_bytes(vdaf.random_bytes)
    public, shares = vdaf.shard(measurement, nonce, random, CONTEXT)
    return [Received(nonce, public, share) for share in shares]


def key(vdaf: Prio3) -> bytes:
    return KEY[vdaf.xof.seed_bytes]


def checked(vdaf: Prio3, held: list[Received]) -> list[Elements]:
    """Both output shares; raises what an aggregator would."""
    prepared = [
        vdaf.verify_init(key(vdaf), agg, [one], CONTEXT)[0]
        for agg, one in enumerate(held)
    ]
    for one in prepared:
        if isinstance(one, Exception):
            raise one
    message = vdaf.verifier_message([share for _, share in prepared], CONTEXT)
    return [vdaf.verify_next(state, message) for state, _ in prepared]


def total(vdaf: Prio3, outputs: list[Elements]) -> int | list[int]:
    summed = outputs[0]
    for output in outputs[1:]:
        summed = vdaf.field.add(summed, output)
    return vdaf.decode(summed)


@settings(max_examples=15)
@given(
    version=st.sampled_from(VERSIONS),
    shares=st.integers(2, 4),
    bits=st.integers(1, 6),
    data=st.data(),
)
def test_sharding_then_adding_is_the_identity(version, shares, bits, data) -> None:
    most = 2**bits - 1
    vector = data.draw(st.lists(st.integers(0, most), min_size=1, max_size=9))
    chunk = data.draw(st.integers(1, len(vector) * bits))
    bucket = data.draw(st.integers(0, 6))
    histogram_chunk = data.draw(st.integers(1, 7))
    one_hot = [int(place == bucket) for place in range(7)]
    cases = [
        (count(version, shares=shares), 1, 1),
        (sum_(version, most, shares=shares), vector[0], vector[0]),
        (sum_vec(version, len(vector), most, chunk, shares=shares), vector, vector),
        (
            sum_vec_multiproof(version, len(vector), most, chunk, shares=shares),
            vector,
            vector,
        ),
        (histogram(version, 7, histogram_chunk, shares=shares), bucket, one_hot),
    ]
    for vdaf, measurement, expected in cases:
        assert total(vdaf, checked(vdaf, sharded(vdaf, measurement))) == expected


@settings(max_examples=40)
@given(most=st.integers(1, 300), data=st.data())
def test_every_number_up_to_any_largest_one_is_provable(
    most: int, data: st.DataObject
) -> None:
    vector = data.draw(st.lists(st.integers(0, most), min_size=2, max_size=2))
    vdaf = sum_vec_multiproof(VDAF_18, 2, most, 3)

    assert total(vdaf, checked(vdaf, sharded(vdaf, vector))) == vector
    one = sum_(VDAF_18, most)
    assert total(one, checked(one, sharded(one, vector[0]))) == vector[0]


@versions
@pytest.mark.parametrize(
    "wrong", [[0, 1, 8], [0, -1, 1], [0, 1], [[1, 2, 3]], [0.5, 1, 1], "abc"]
)
def test_a_measurement_out_of_range_is_refused_before_it_is_shared(
    version, wrong
) -> None:
    with pytest.raises(InvalidInput):
        sharded(sum_vec_multiproof(version, 3, 7, 2), wrong)


@pytest.mark.parametrize(
    ("vdaf", "wrong"), [(count(VDAF_18), 2), (sum_(VDAF_18, 9), 10)]
)
def test_a_number_out_of_range_is_refused_before_it_is_shared(
    vdaf: Prio3, wrong: int
) -> None:
    with pytest.raises(InvalidInput):
        sharded(vdaf, wrong)


def test_the_older_draft_has_only_full_ranges() -> None:
    with pytest.raises(InvalidInput, match="VDAF-18"):
        sum_vec_multiproof(VDAF_08, 4, 14, 4)


def cheating(vdaf: Prio3, encode: Callable[[Circuit], Elements]) -> list[Received]:
    """A report of a client that encodes as it likes and proves as well as it can."""
    honest = type(vdaf.circuit).encode
    try:
        type(vdaf.circuit).encode = lambda circuit, measurement: encode(circuit)
        return sharded(vdaf, 0)
    finally:
        type(vdaf.circuit).encode = honest


@versions
@pytest.mark.parametrize("value", [2, 14, -1, 2**40])
def test_an_entry_that_is_no_bit_is_found(version, value: int) -> None:
    vdaf = sum_vec_multiproof(version, 8, 7, 5)

    def encode(circuit: Circuit) -> Elements:
        return circuit.field.constants([0] * 11 + [value] + [0] * 12)

    with pytest.raises(ProofRejected, match="range"):
        checked(vdaf, cheating(vdaf, encode))


@versions
@pytest.mark.parametrize("buckets", [[0, 0, 0, 0], [1, 1, 0, 0], [2, -1, 0, 0]])
def test_a_histogram_of_no_or_two_buckets_is_found(version, buckets: list[int]) -> None:
    vdaf = histogram(version, 4, 2)

    with pytest.raises(ProofRejected, match="range"):
        checked(vdaf, cheating(vdaf, lambda circuit: circuit.field.constants(buckets)))


@versions
@pytest.mark.parametrize("value", [2, -1])
def test_a_count_of_more_than_one_is_found(version, value: int) -> None:
    vdaf = count(version)

    with pytest.raises(ProofRejected, match="range"):
        checked(vdaf, cheating(vdaf, lambda circuit: circuit.field.constants([value])))


@versions
def test_a_sum_beyond_its_bits_is_found(version) -> None:
    vdaf = sum_(version, 15)

    with pytest.raises(ProofRejected, match="range"):
        checked(
            vdaf, cheating(vdaf, lambda circuit: circuit.field.constants([1, 0, 2, 0]))
        )


def changed(content: bytes, place: int) -> bytes:
    at = place % len(content)
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@versions
@settings(max_examples=60)
@given(
    place=st.integers(0, 10**6), part=st.sampled_from(["leader", "helper", "public"])
)
def test_one_changed_byte_anywhere_is_found(version, place: int, part: str) -> None:
    vdaf = sum_vec_multiproof(version, 4, 3, 3)
    leader, helper = sharded(vdaf, [0, 1, 2, 3])
    public = (
        changed(leader.public_share, place) if part == "public" else leader.public_share
    )
    shares = [
        changed(one.input_share, place) if part == name else one.input_share
        for name, one in (("leader", leader), ("helper", helper))
    ]

    with pytest.raises((ProofRejected, DecodeError)):
        checked(vdaf, [Received(leader.nonce, public, share) for share in shares])


@versions
def test_shares_of_two_reports_do_not_belong_together(version) -> None:
    vdaf = sum_vec_multiproof(version, 4, 3, 3)
    (leader, _), (_, helper) = (sharded(vdaf, [0, 1, 2, 3]) for _ in "ab")

    with pytest.raises(ProofRejected):
        checked(vdaf, [leader, helper])


def test_a_report_for_another_task_does_not_hold() -> None:
    vdaf = sum_vec_multiproof(VDAF_18, 4, 3, 3)
    held = sharded(vdaf, [0, 1, 2, 3])
    [one], [other] = (
        vdaf.verify_init(key(vdaf), agg, [share], b"another")
        for agg, share in enumerate(held)
    )

    with pytest.raises(ProofRejected):
        vdaf.verifier_message([one[1], other[1]], b"another")


@versions
@pytest.mark.parametrize("cut", [0, 1, 31, 32, -1])
def test_shares_of_a_wrong_size_are_refused(version, cut: int) -> None:
    vdaf = sum_vec_multiproof(version, 4, 3, 3)
    leader, helper = sharded(vdaf, [0, 1, 2, 3])
    [(_, share)] = vdaf.verify_init(key(vdaf), 0, [leader], CONTEXT)

    for agg, one in enumerate((leader, helper)):
        short = Received(one.nonce, one.public_share, one.input_share[:cut])
        longer = Received(one.nonce, one.public_share, one.input_share + b"\0")
        public = Received(one.nonce, one.public_share[:cut], one.input_share)
        for prepared in vdaf.verify_init(
            key(vdaf), agg, [short, longer, public], CONTEXT
        ):
            assert isinstance(prepared, DecodeError)
    with pytest.raises(DecodeError):
        vdaf.verifier_message([share[:cut], share], CONTEXT)


@versions
def test_many_reports_at_once_are_what_each_is_alone_and_a_bad_one_spoils_none(
    version,
) -> None:
    vdaf = sum_vec_multiproof(version, 5, 3, 4)
    held = [sharded(vdaf, np.full(5, number % 4)) for number in range(20)]
    held[7][0] = Received(held[7][0].nonce, b"", held[7][0].input_share)
    for agg in (0, 1):
        together = vdaf.verify_init(
            key(vdaf), agg, [pair[agg] for pair in held], CONTEXT
        )

        for pair, one in zip(held, together, strict=True):
            [alone] = vdaf.verify_init(key(vdaf), agg, [pair[agg]], CONTEXT)
            if isinstance(alone, DecodeError):
                assert (agg, pair) == (0, held[7])
                assert isinstance(one, DecodeError)
            else:
                assert one[1] == alone[1]
                assert (one[0].output == alone[0].output).all()


@pytest.mark.parametrize("elements", [1, 2, 3, 40, 1000, 65_536])
def test_the_best_chunk_has_the_shortest_proof(elements: int) -> None:
    def length(chunk: int) -> int:
        return 2 * chunk + 2 * (1 << (-(-elements // chunk)).bit_length()) - 1

    assert length(best_chunk(elements)) == min(
        length(chunk) for chunk in range(1, elements + 1)
    )


def test_a_leaders_share_alone_is_as_good_as_random() -> None:
    """Each bit of a share is 1 in half of 400 reports; falsely alarmed once in 10^9 runs."""
    vdaf = sum_vec_multiproof(VDAF_18, 4, 3, 3)
    shares = [sharded(vdaf, [3, 3, 3, 3])[0].input_share[:64] for _ in range(400)]
    bits = np.unpackbits(
        np.array([list(share) for share in shares], dtype=np.uint8), axis=1
    )

    assert (
        np.abs(bits.mean(axis=0) - 0.5) < 0.19
    ).all()  # 7.6 standard deviations, 512 bits


class TestPine:
    """PINE64: the norm itself is bounded."""

    vdaf = pine64(Layout(40, 12), 48, 8)

    def test_sharding_then_adding_is_the_identity(self) -> None:
        vector = np.zeros(40, dtype=int)
        vector[3:8] = [-5, 4, 3, 8, -5]

        assert (
            total(self.vdaf, checked(self.vdaf, sharded(self.vdaf, vector)))
            == vector.tolist()
        )

    @pytest.mark.parametrize(
        "vector", [[13] + [0] * 39, [9, 9] + [0] * 38, [float("nan")] * 40]
    )
    def test_a_vector_beyond_its_bound_is_refused_before_it_is_shared(
        self, vector
    ) -> None:
        with pytest.raises(InvalidInput):
            sharded(self.vdaf, vector)

    def test_a_vector_beyond_its_bound_is_found(self) -> None:
        """A client whose own check is off shares a vector of norm 13 under a bound of 12."""
        loose = pine64(Layout(40, 13), 48, 8)
        assert loose.layout.sent == self.vdaf.layout.sent

        with pytest.raises(ProofRejected):
            checked(self.vdaf, sharded(loose, [13] + [0] * 39))

    def test_a_vector_that_wraps_around_is_found(self) -> None:
        """Entries of 2^32 square to 2^64, which is small in the field."""
        honest = self.vdaf._with_norm([0] * 40)
        wrapped = honest.copy()
        wrapped[0] = 2**32 - 1
        field, layout = self.vdaf.field, self.vdaf.layout
        square = (2**32 - 1) ** 2 % field.modulus
        bits = [square >> place & 1 for place in range(layout.norm_bits)]
        wrapped[40 : 40 + layout.norm_bits] = bits

        class Client(type(self.vdaf)):
            def _with_norm(self, measurement):
                return wrapped

            def _claims(self, sums):
                low = [
                    v if abs(v) < layout.wrap_bound else 0
                    for v in self.field.signed(sums)
                ]
                return super()._claims(self.field.constants(low))

        client = Client(**{name: getattr(self.vdaf, name) for name in vars(self.vdaf)})
        with pytest.raises(ProofRejected):
            checked(self.vdaf, sharded(client, [0] * 40))

    @settings(max_examples=40)
    @given(
        place=st.integers(0, 10**6),
        part=st.sampled_from(["leader", "helper", "public"]),
    )
    def test_one_changed_byte_anywhere_is_found(self, place: int, part: str) -> None:
        leader, helper = sharded(self.vdaf, [1] * 40)
        public = (
            changed(leader.public_share, place)
            if part == "public"
            else leader.public_share
        )
        shares = [
            changed(one.input_share, place) if part == name else one.input_share
            for name, one in (("leader", leader), ("helper", helper))
        ]

        with pytest.raises((ProofRejected, DecodeError)):
            checked(
                self.vdaf, [Received(leader.nonce, public, share) for share in shares]
            )
