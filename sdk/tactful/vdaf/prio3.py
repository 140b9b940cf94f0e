"""Prio3: a measurement in shares, each share with a share of a proof (draft-irtf-cfrg-vdaf, 7).

One round: every aggregator turns its share into a verifier share; together these say whether the
proof holds. Two versions of the draft are spoken, told apart by one record.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tactful.errors import DecodeError, InvalidInput, ProofRejected
from tactful.vdaf import flp
from tactful.vdaf.circuit import Circuit
from tactful.vdaf.field import Elements, Field
from tactful.vdaf.vdaf import NONCE_BYTES, Measurement, Prepared, Received, VerifyState
from tactful.vdaf.version import Version
from tactful.vdaf.xof import Xof, derive_seed, expand

MEASUREMENT_SHARE, PROOF_SHARE, JOINT_RANDOMNESS, PROVE_RANDOMNESS = 1, 2, 3, 4
QUERY_RANDOMNESS, JOINT_SEED, JOINT_PART = 5, 6, 7  # usages, as the draft numbers them


@dataclass(frozen=True)
class Prio3:
    """One type of measurement with its parameters, for `shares` aggregators."""

    version: Version
    id: int
    circuit: Circuit
    xof: Xof
    proofs: int = 1
    shares: int = 2

    @property
    def field(self) -> Field:
        """The field of its shares."""
        return self.circuit.field

    @property
    def output_length(self) -> int:
        """Elements of what is summed."""
        return self.circuit.output_length

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Bytes of the public share, of the first input share, and of each other one."""
        seed, blinds = self.xof.seed_bytes, 1 if self.circuit.joint_length else 0
        elements = self.circuit.length + self.proofs * flp.proof_length(self.circuit)
        others = (self.version.helper_seeds + blinds) * seed
        return (
            blinds * self.shares * seed,
            self.field.size * elements + blinds * seed,
            others,
        )

    @property
    def verify_key_bytes(self) -> int:
        """The length of what both aggregators know and no client."""
        return self.xof.seed_bytes

    @property
    def random_bytes(self) -> int:
        """How many random bytes `shard` needs."""
        seeds = (self.shares - 1) * self.version.helper_seeds + 1
        return (
            seeds + (self.shares if self.circuit.joint_length else 0)
        ) * self.xof.seed_bytes

    # the client

    def shard(
        self,
        measurement: Measurement,
        nonce: bytes,
        random: bytes,
        context: bytes = b"",
    ) -> tuple[bytes, list[bytes]]:
        """(public share, one input share for each aggregator) of a measurement.

        `nonce` is 16 bytes, `random` are `random_bytes` fresh ones. Raises InvalidInput.
        """
        if len(nonce) != NONCE_BYTES or len(random) != self.random_bytes:
            raise InvalidInput(
                "random", "a wrong number of bytes", "draw as many as it says"
            )
        encoded = self.circuit.encode(measurement)
        helpers, leader_blind, prove_seed = self._seeds(random)
        masks = [
            self._measurement_share(context, agg, seeds[0])
            for agg, (seeds, _) in helpers.items()
        ]
        leader = encoded
        for mask in masks:
            leader = self.field.subtract(leader, mask)
        blinds = [leader_blind, *(blind for _, blind in helpers.values())]
        parts = [
            self._joint_part(context, agg, blind, share, nonce)
            for agg, (blind, share) in enumerate(
                zip(blinds, [leader, *masks], strict=True)
            )
        ]
        joint = self._joint(context, self._joint_seed(context, parts))
        proofs = self._prove(context, encoded, prove_seed, joint)
        for agg, (seeds, _) in helpers.items():
            proofs = self.field.subtract(
                proofs, self._proofs_share(context, agg, seeds[-1])
            )
        first = self.field.encode(leader) + self.field.encode(proofs) + leader_blind
        others = [b"".join(seeds) + blind for seeds, blind in helpers.values()]
        return b"".join(parts), [first, *others]

    def _seeds(
        self, random: bytes
    ) -> tuple[dict[int, tuple[list[bytes], bytes]], bytes, bytes]:
        """(each helper's seeds and blind, the leader's blind, the prover's seed)."""
        size, blinds = self.xof.seed_bytes, 1 if self.circuit.joint_length else 0
        seeds = [random[at : at + size] for at in range(0, len(random), size)]
        own = self.version.helper_seeds
        helpers = {}
        for agg in range(1, self.shares):
            mine = seeds[: own + blinds]
            seeds = seeds[own + blinds :]
            helpers[agg] = mine[:own], b"".join(mine[own:])
        return helpers, b"".join(seeds[:blinds]), seeds[blinds]

    def _prove(
        self, context: bytes, encoded: Elements, prove_seed: bytes, joint: Elements
    ) -> Elements:
        arity = self.circuit.gadget.arity
        dst, binder = self._dst(PROVE_RANDOMNESS, context), bytes([self.proofs])
        seeds = expand(
            self.xof, self.field, prove_seed, dst, binder, self.proofs * arity
        )
        shaped = self.field.reshape(seeds, self.proofs, arity)
        one = self.field.reshape(encoded, 1, -1)
        proofs = flp.prove(self.circuit, self.version.basis, one, shaped, joint)
        return self.field.reshape(proofs, -1)

    # each aggregator

    def verify_init(
        self,
        verify_key: bytes,
        agg: int,
        reports: Sequence[Received],
        context: bytes = b"",
    ) -> list[Prepared]:
        """For each report its state and encoded verifier share, or what is wrong with it alone.

        Reports that fit together in memory are checked in one step; there is no order among them.
        """
        prepared: list[Prepared] = []
        for start in range(0, len(reports), self._at_once):
            prepared += self._verify_some(
                verify_key, agg, reports[start : start + self._at_once], context
            )
        return prepared

    @property
    def _at_once(self) -> int:
        return max(1, (1 << 17) // (self.circuit.length * self.proofs))

    def _verify_some(
        self, key: bytes, agg: int, reports: Sequence[Received], context: bytes
    ) -> list[Prepared]:
        opened = [self._opened(key, agg, report, context) for report in reports]
        good = [one for one in opened if isinstance(one, _Opened)]
        shares = list(self._queried(good)) if good else []
        answers = iter(zip(good, shares, strict=True))
        return [
            self._prepared(*next(answers)) if isinstance(one, _Opened) else one
            for one in opened
        ]

    def _queried(self, opened: Sequence[_Opened]) -> Elements:
        """The verifier shares, (reports, proofs * verifier_length)."""
        field, circuit = self.field, self.circuit

        def stacked(
            vectors: list[Elements], width: int, rows: int = self.proofs
        ) -> Elements:
            return field.reshape(field.stack(vectors), len(opened), rows, width)

        verifiers = flp.query(
            circuit,
            self.version.basis,
            stacked([one.encoded for one in opened], circuit.length, 1),
            stacked([one.proofs for one in opened], flp.proof_length(circuit)),
            stacked([one.query for one in opened], flp.query_length(circuit)),
            stacked([one.joint for one in opened], circuit.joint_length),
            self.shares,
        )
        flat = field.reshape(
            verifiers, len(opened), self.proofs * flp.verifier_length(circuit)
        )
        return np.moveaxis(flat, len(field.planes), 0)

    def _prepared(self, opened: _Opened, verifier: Elements) -> Prepared:
        state = VerifyState(
            self.circuit.truncate(opened.encoded), opened.joint_seed, opened.bound
        )
        return state, self.field.encode(verifier) + opened.part

    def _opened(
        self, key: bytes, agg: int, report: Received, context: bytes
    ) -> _Opened | ProofRejected | DecodeError:
        """A report's share written out, with the randomness that its proof is checked with."""
        circuit, field = self.circuit, self.field
        try:
            parts = self._parts(report.public_share)
            encoded, proofs, blind = self._expanded(context, agg, report.input_share)
        except DecodeError as wrong:
            return wrong
        part = self._joint_part(context, agg, blind, encoded, report.nonce)
        bound = not circuit.joint_length or hmac.compare_digest(parts[agg], part)
        if circuit.joint_length:
            parts[agg] = part
        seed = self._joint_seed(context, parts)
        count = self.proofs * flp.query_length(circuit)
        dst, binder = (
            self._dst(QUERY_RANDOMNESS, context),
            bytes([self.proofs]) + report.nonce,
        )
        query = expand(self.xof, field, key, dst, binder, count)
        points = field.integers(
            query[..., flp.query_length(circuit) - 1 :: flp.query_length(circuit)]
        )
        if not all(flp.usable(field, circuit, point) for point in points):
            return ProofRejected(
                "proof: it met a point that would reveal it; report again"
            )
        joint = field.reshape(self._joint(context, seed), -1)
        return _Opened(encoded, proofs, query, joint, part, seed, bound)

    def _expanded(
        self, context: bytes, agg: int, share: bytes
    ) -> tuple[Elements, Elements, bytes]:
        """(measurement share, proofs share, blind) of an input share; raises DecodeError."""
        size, own = self.xof.seed_bytes, self.version.helper_seeds
        blind_size = size if self.circuit.joint_length else 0
        if agg:
            if len(share) != own * size + blind_size:
                raise DecodeError(f"input share: {len(share)} bytes are not a helper's")
            seeds = [share[at : at + size] for at in range(0, own * size, size)]
            measurement = self._measurement_share(context, agg, seeds[0])
            return (
                measurement,
                self._proofs_share(context, agg, seeds[-1]),
                share[own * size :],
            )
        first = self.field.size * self.circuit.length
        end = len(share) - blind_size
        proofs = self.proofs * flp.proof_length(self.circuit)
        if end < first:
            raise DecodeError(f"input share: {len(share)} bytes are not a leader's")
        return (
            self.field.decode(share[:first], self.circuit.length),
            self.field.decode(share[first:end], proofs),
            share[end:],
        )

    def _parts(self, public_share: bytes) -> list[bytes]:
        size = self.xof.seed_bytes if self.circuit.joint_length else 0
        if len(public_share) != size * self.shares:
            raise DecodeError(
                f"public share: {len(public_share)} bytes, {size * self.shares} due"
            )
        return (
            [public_share[at * size : (at + 1) * size] for at in range(self.shares)]
            if size
            else []
        )

    # together

    def verifier_message(self, shares: Sequence[bytes], context: bytes = b"") -> bytes:
        """What all verifier shares of a report say together.

        Raises ProofRejected if the proof does not hold, DecodeError for a malformed share.
        """
        field, circuit = self.field, self.circuit
        width = self.proofs * flp.verifier_length(circuit)
        size = field.size * width
        blind = self.xof.seed_bytes if circuit.joint_length else 0
        total = field.zeros(width)
        parts = []
        for share in shares:
            if len(share) != size + blind:
                raise DecodeError(
                    f"verifier share: {len(share)} bytes, {size + blind} due"
                )
            total = field.add(total, field.decode(share[:size], width))
            parts.append(share[size:])
        if not flp.decide(circuit, field.reshape(total, self.proofs, -1)).all():
            raise ProofRejected("proof: the measurement is not in its range")
        return self._joint_seed(context, parts)

    def verify_next(self, state: VerifyState, message: bytes) -> Elements:
        """The output share, once the randomness is what the client was bound to.

        Raises ProofRejected.
        """
        if not hmac.compare_digest(state.joint_seed, message):
            raise ProofRejected("proof: the shares do not belong together")
        return state.output

    def decode(self, total: Elements) -> int | list[int]:
        """A sum as whole numbers."""
        return self.circuit.decode(total)

    # the draft's auxiliary functions

    def _measurement_share(self, context: bytes, agg: int, seed: bytes) -> Elements:
        dst = self._dst(MEASUREMENT_SHARE, context)
        return expand(
            self.xof, self.field, seed, dst, bytes([agg]), self.circuit.length
        )

    def _proofs_share(self, context: bytes, agg: int, seed: bytes) -> Elements:
        length = self.proofs * flp.proof_length(self.circuit)
        dst, binder = self._dst(PROOF_SHARE, context), bytes([self.proofs, agg])
        return expand(self.xof, self.field, seed, dst, binder, length)

    def _joint_part(
        self, context: bytes, agg: int, blind: bytes, share: Elements, nonce: bytes
    ) -> bytes:
        if not self.circuit.joint_length:
            return b""
        binder = bytes([agg]) + nonce + self.field.encode(share)
        return derive_seed(self.xof, blind, self._dst(JOINT_PART, context), binder)

    def _joint_seed(self, context: bytes, parts: Sequence[bytes]) -> bytes:
        if not self.circuit.joint_length:
            return b""
        nothing = bytes(self.xof.seed_bytes)
        return derive_seed(
            self.xof, nothing, self._dst(JOINT_SEED, context), b"".join(parts)
        )

    def _joint(self, context: bytes, seed: bytes) -> Elements:
        """The joint randomness, (proofs, joint_length)."""
        length = self.circuit.joint_length
        if not length:
            return self.field.zeros(self.proofs, 0)
        dst, binder = self._dst(JOINT_RANDOMNESS, context), bytes([self.proofs])
        flat = expand(self.xof, self.field, seed, dst, binder, self.proofs * length)
        return self.field.reshape(flat, self.proofs, length)

    def _dst(self, usage: int, context: bytes) -> bytes:
        prefix = bytes([self.version.number, 0]) + self.id.to_bytes(4, "big")
        bound = context if self.version.has_context else b""
        return prefix + usage.to_bytes(2, "big") + bound


@dataclass(frozen=True)
class _Opened:
    encoded: Elements
    proofs: Elements
    query: Elements
    joint: Elements
    part: bytes
    joint_seed: bytes
    bound: bool
