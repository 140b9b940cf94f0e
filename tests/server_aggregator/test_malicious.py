"""Hostile clients: none of what they send is counted, and none of it spoils a batch."""

import secrets
from dataclasses import replace

import numpy as np
import pytest

from tactful.errors import DecodeError, InvalidInput, ProofRejected
from tactful.protocol.dap.messages import ReportMetadata
from tactful.protocol.dap.vdaf_config import sum_vec_field64_for
from tactful.protocol.dap.versions import ReportError
from tactful.vdaf import flp
from tactful.vdaf.circuit import Circuit, Validity
from tactful.vdaf.field import Elements
from tactful.vdaf.pine import pine64
from tactful.vdaf.pine_circuit import Layout
from tactful.vdaf.prio3 import Prio3
from tactful.vdaf.vdaf import Received, Vdaf
from tactful.vdaf.version import VDAF_18

ATTEMPTS = 400  # make dap-campaign makes 10,000
KEY, NONCE = bytes(range(32)), bytes(16)


def accepted(vdaf: Vdaf, public: bytes, shares: list[bytes]) -> bool:
    """Whether both aggregators count what they were given."""
    prepared = [
        vdaf.verify_init(KEY, agg, [Received(NONCE, public, share)])[0]
        for agg, share in enumerate(shares)
    ]
    if any(isinstance(one, Exception) for one in prepared):
        return False
    try:
        message = vdaf.verifier_message([share for _, share in prepared])
        for state, _ in prepared:
            vdaf.verify_next(state, message)
    except (ProofRejected, DecodeError):
        return False
    return all(state.bound for state, _ in prepared)


def out_of_range(vdaf: Prio3, random: np.random.Generator) -> tuple[bytes, list[bytes]]:
    """Some entries are no bits; the proof is as good as it can be."""
    bits = random.integers(0, 2, vdaf.circuit.length)
    places = random.choice(
        vdaf.circuit.length, size=random.integers(1, 4), replace=False
    )
    bits[places] = random.choice([2, 3, -1, 14, 2**40, -(2**40)], size=len(places))
    return _shared(vdaf, vdaf.field.from_integers(bits))


def _shared(vdaf: Prio3, encoded: Elements) -> tuple[bytes, list[bytes]]:
    kind, honest = type(vdaf.circuit), type(vdaf.circuit).encode
    try:
        kind.encode = lambda circuit, measurement: encoded
        return vdaf.shard([], NONCE, secrets.token_bytes(vdaf.random_bytes))
    finally:
        kind.encode = honest


def wrong_proof(vdaf: Prio3, random: np.random.Generator) -> tuple[bytes, list[bytes]]:
    """A bit of the proof, of a share, of a seed or of the public share is another one."""
    public, shares = _honest(vdaf, random)
    parts = [public, *shares]
    which = int(random.integers(3))
    place = int(random.integers(len(parts[which])))
    flipped = bytearray(parts[which])
    flipped[place] ^= 1 << int(random.integers(8))
    parts[which] = bytes(flipped)
    return parts[0], parts[1:]


def swapped_shares(
    vdaf: Prio3, random: np.random.Generator
) -> tuple[bytes, list[bytes]]:
    """The shares of two reports, mixed; or of one, exchanged."""
    (public, one), (_, other) = _honest(vdaf, random), _honest(vdaf, random)
    mixtures = [
        [one[0], other[1]],
        [other[0], one[1]],
        [other[0], other[1]],
        [one[1], one[0]],
    ]
    return public, mixtures[int(random.integers(4))]


def _honest(vdaf: Prio3, random: np.random.Generator) -> tuple[bytes, list[bytes]]:
    measurement = random.integers(0, vdaf.circuit.bits.most + 1, vdaf.output_length)
    return vdaf.shard(measurement, NONCE, secrets.token_bytes(vdaf.random_bytes))


CRIMES = [out_of_range, wrong_proof, swapped_shares]


def attempts(count: int, seed: int) -> int:
    """How many of `count` attempts were accepted."""
    random = np.random.default_rng(seed)
    vdaf = sum_vec_field64_for(8, 14, 3).vdaf(VDAF_18)
    return sum(
        accepted(vdaf, *CRIMES[number % 3](vdaf, random)) for number in range(count)
    )


def norms(count: int, seed: int) -> int:
    """How many of `count` vectors beyond the bound were accepted; a client that checks nothing."""
    random = np.random.default_rng(seed)
    bound, loose = (pine64(Layout(8, norm), 48, 4) for norm in (12, 15))
    taken = 0
    for _ in range(count):
        vector = random.integers(-15, 16, 8)
        squares = int(vector @ vector)
        if not 144 < squares <= 225:
            vector = np.array([13 + int(random.integers(3)), 0, 0, 0, 0, 0, 0, 0])
        try:
            shares = loose.shard(vector, NONCE, secrets.token_bytes(loose.random_bytes))
        except InvalidInput:
            continue
        taken += accepted(bound, *shares)
    return taken


def test_no_attempt_is_accepted() -> None:
    assert attempts(ATTEMPTS, seed=1) == 0
    assert norms(ATTEMPTS // 8, seed=1) == 0


def test_honest_reports_are() -> None:
    random = np.random.default_rng(2)
    vdaf = sum_vec_field64_for(8, 14, 3).vdaf(VDAF_18)

    assert all(accepted(vdaf, *_honest(vdaf, random)) for _ in range(20))


def test_bad_reports_among_good_ones_spoil_nothing(pair) -> None:
    task, random = pair.agreed(), np.random.default_rng(3)
    vdaf = task.dap.vdaf
    rows = random.integers(0, 15, (10, 8))
    good = [pair.report(task, row) for row in rows]
    bad = []
    for number in range(30):
        metadata = ReportMetadata(secrets.token_bytes(16), task.dap.wire_time(pair.now))
        public, shares = CRIMES[number % 3](vdaf, random)
        bad.append(pair.sealed(task, metadata, public, shares))
    mixed = [*good, *bad]
    random.shuffle(mixed)
    pair.receive(task, *mixed)

    pair.drive(task)

    assert pair.total(task) == (rows.sum(axis=0).tolist(), 10)
    assert pair.collect(task)[1] == 10


class Split(Validity):
    """A circuit whose left factors come from two shares under two different randomnesses."""

    def __init__(
        self, circuit: Circuit, shares: list[Elements], joints: list[Elements]
    ) -> None:
        self.field, self.gadget, self.calls = (
            circuit.field,
            circuit.gadget,
            circuit.calls,
        )
        self._inner, self._shares, self._joints = circuit, shares, joints

    def inputs(self, encoded: Elements, joint: Elements, shares: int) -> Elements:
        aggregators = [
            self._inner.inputs(self.field.reshape(share, 1, -1), one, 1)
            for share, one in zip(self._shares, self._joints, strict=True)
        ]
        mixed = self._inner.inputs(encoded, joint, 1)
        mixed[..., 0, :] = self.field.add(
            aggregators[0][..., 0, :], aggregators[1][..., 0, :]
        )
        return mixed

    def outputs(self, *_: object) -> Elements:
        raise NotImplementedError


def half_bound(vdaf: Prio3, context: bytes, nonce: bytes) -> tuple[bytes, list[bytes]]:
    """A valid vector of ones, whose client states the helper's part of the randomness wrongly.

    The halves then check with different randomness. Entries that are all 1 satisfy the circuit
    whatever it is, and a proof for the mixture can be made, so the combined proof holds; the
    helper's comparison with the message holds too, and only the leader's does not.
    """
    field, circuit, size = vdaf.field, vdaf.circuit, vdaf.xof.seed_bytes
    seed, helper_blind, leader_blind, prove = (
        secrets.token_bytes(size) for _ in range(4)
    )
    encoded = field.constant(1, circuit.length)
    mask = vdaf._measurement_share(context, 1, seed)
    leader = field.subtract(encoded, mask)
    parts = [
        vdaf._joint_part(context, 0, leader_blind, leader, nonce),
        vdaf._joint_part(context, 1, helper_blind, mask, nonce),
    ]
    stated = [parts[0], secrets.token_bytes(size)]
    joints = [
        vdaf._joint(context, vdaf._joint_seed(context, one)) for one in (stated, parts)
    ]
    split = Split(circuit, [leader, mask], joints)
    arity = circuit.gadget.arity
    seeds = field.constant(5, vdaf.proofs, arity)
    one = field.reshape(encoded, 1, -1)
    proofs = flp.prove(split, "values", one, seeds, joints[0])
    mine = field.subtract(
        field.reshape(proofs, -1), vdaf._proofs_share(context, 1, seed)
    )
    assert prove
    first = field.encode(leader) + field.encode(mine) + leader_blind
    return b"".join(stated), [first, seed + helper_blind]


def test_a_report_that_only_one_half_would_count_is_counted_by_none(pair) -> None:
    task = pair.agreed()
    rows = np.ones((5, 8), dtype=int)
    good = [pair.report(task, row) for row in rows]
    metadata = ReportMetadata(secrets.token_bytes(16), task.dap.wire_time(pair.now))
    shares = half_bound(task.dap.vdaf, task.dap.context, metadata.report_id)
    bad = pair.sealed(task, metadata, *shares)
    pair.receive(task, *good, bad)

    request = pair.job(task, bad)
    pair.drive(task)

    assert pair.total(task) == ([5] * 8, 5)
    assert pair.answered(task, b"another job's id", request) == [
        ReportError.VDAF_VERIFY_ERROR
    ]


def test_without_the_helpers_own_comparison_such_a_report_spoils_the_batch(
    pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check taken out: the helper counts what the leader then refuses."""
    from tactful_aggregator.jobs import helper_jobs, leader_jobs, verification

    verified = verification.verify_reports

    def trusting(*arguments: object) -> list[object]:
        return [
            one
            if isinstance(one, ReportError)
            else (replace(one[0], bound=True), one[1])
            for one in verified(*arguments)
        ]

    for module in (leader_jobs, helper_jobs):
        monkeypatch.setattr(module, "verify_reports", trusting)
    task = pair.agreed()
    metadata = ReportMetadata(secrets.token_bytes(16), task.dap.wire_time(pair.now))
    shares = half_bound(task.dap.vdaf, task.dap.context, metadata.report_id)
    bad = pair.sealed(task, metadata, *shares)
    pair.receive(
        task, *[pair.report(task, np.ones(8, dtype=int)) for _ in range(5)], bad
    )

    pair.drive(task)

    mine, theirs = (
        found[0].count for found in pair.asked(lambda tx: tx.sums.shards(task.id, 0, 1))
    )
    assert (mine, theirs) == (5, 6)
