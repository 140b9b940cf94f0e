"""Prio3: shares of a measurement, each with a share of a proof (draft-irtf-cfrg-vdaf, 7).

In its one round, every aggregator computes a verifier share. Together these show if the
proof is valid. A record of `Version` holds what differs between drafts.
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
QUERY_RANDOMNESS, JOINT_SEED, JOINT_PART = 5, 6, 7  # numbers of usages in the draft


@dataclass(frozen=True)
class Prio3:
    """A Prio3 instance with its parameters, for `shares` aggregators."""

    version: Version
    id: int
    circuit: Circuit
    xof: Xof
    proofs: int = 1
    shares: int = 2

    @property
    def field(self) -> Field:
        """The field of the shares."""
        return self.circuit.field

    @property
    def output_length(self) -> int:
        """The number of elements of an output share."""
        return self.circuit.output_length

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The bytes of the public share, the leader's input share, and each helper's."""
        seed = self.xof.seed_bytes
        blinds = 1 if self.circuit.joint_length else 0
        elements = self.circuit.length + self.proofs * flp.proof_length(self.circuit)
        public = blinds * self.shares * seed
        leader = self.field.size * elements + blinds * seed
        helper = (self.version.helper_seeds + blinds) * seed
        return public, leader, helper

    @property
    def verify_key_bytes(self) -> int:
        """The bytes of the verification key, which only the aggregators know."""
        return self.xof.seed_bytes

    @property
    def random_bytes(self) -> int:
        """The number of random bytes that `shard` needs."""
        seeds = (self.shares - 1) * self.version.helper_seeds + 1
        blinds = self.shares if self.circuit.joint_length else 0
        return (seeds + blinds) * self.xof.seed_bytes

    # Run by the client.

    def shard(
        self,
        measurement: Measurement,
        nonce: bytes,
        random: bytes,
        context: bytes = b"",
    ) -> tuple[bytes, list[bytes]]:
        """Return the public share and an input share for each aggregator.

        `nonce` has 16 bytes, `random` has `random_bytes` new random bytes. Raise
        InvalidInput for a measurement that is not valid.
        """
        if len(nonce) != NONCE_BYTES or len(random) != self.random_bytes:
            raise InvalidInput(
                "random", "it has a wrong number of bytes", "pass `random_bytes` bytes"
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
        blinded_shares = zip(blinds, [leader, *masks], strict=True)
        parts = [
            self._joint_part(context, agg, blind, share, nonce)
            for agg, (blind, share) in enumerate(blinded_shares)
        ]
        joint = self._joint(context, self._joint_seed(context, parts))
        proofs = self._prove(context, encoded, prove_seed, joint)
        for agg, (seeds, _) in helpers.items():
            proofs_share = self._proofs_share(context, agg, seeds[-1])
            proofs = self.field.subtract(proofs, proofs_share)
        leader_share = self.field.encode(leader) + self.field.encode(proofs)
        helper_shares = [b"".join(seeds) + blind for seeds, blind in helpers.values()]
        return b"".join(parts), [leader_share + leader_blind, *helper_shares]

    def _seeds(
        self, random: bytes
    ) -> tuple[dict[int, tuple[list[bytes], bytes]], bytes, bytes]:
        """Return the seeds and blind of each helper, the leader's blind, the prove seed."""
        size = self.xof.seed_bytes
        blinds = 1 if self.circuit.joint_length else 0
        seeds = [random[start : start + size] for start in range(0, len(random), size)]
        seed_count = self.version.helper_seeds
        helpers = {}
        for agg in range(1, self.shares):
            helper_seeds = seeds[: seed_count + blinds]
            seeds = seeds[seed_count + blinds :]
            blind = b"".join(helper_seeds[seed_count:])
            helpers[agg] = helper_seeds[:seed_count], blind
        return helpers, b"".join(seeds[:blinds]), seeds[blinds]

    def _prove(
        self, context: bytes, encoded: Elements, prove_seed: bytes, joint: Elements
    ) -> Elements:
        arity = self.circuit.gadget.arity
        dst, binder = self._dst(PROVE_RANDOMNESS, context), bytes([self.proofs])
        seeds = expand(
            self.xof, self.field, prove_seed, dst, binder, self.proofs * arity
        )
        seeds = self.field.reshape(seeds, self.proofs, arity)
        encoded = self.field.reshape(encoded, 1, -1)
        proofs = flp.prove(self.circuit, self.version.basis, encoded, seeds, joint)
        return self.field.reshape(proofs, -1)

    # Run by each aggregator.

    def verify_init(
        self,
        verify_key: bytes,
        agg: int,
        reports: Sequence[Received],
        context: bytes = b"",
    ) -> list[Prepared]:
        """Return for each report its state and verifier share, or its error.

        Reports that fit in memory together are checked in one step.
        """
        prepared: list[Prepared] = []
        step = self._reports_per_step
        for start in range(0, len(reports), step):
            part = reports[start : start + step]
            prepared += self._verify_together(verify_key, agg, part, context)
        return prepared

    @property
    def _reports_per_step(self) -> int:
        return max(1, (1 << 17) // (self.circuit.length * self.proofs))

    def _verify_together(
        self, key: bytes, agg: int, reports: Sequence[Received], context: bytes
    ) -> list[Prepared]:
        opened = [self._opened(key, agg, report, context) for report in reports]
        valid = [result for result in opened if isinstance(result, _OpenedReport)]
        shares = list(self._verifier_shares(valid)) if valid else []
        pairs = iter(zip(valid, shares, strict=True))
        return [
            self._prepared(*next(pairs))
            if isinstance(result, _OpenedReport)
            else result
            for result in opened
        ]

    def _verifier_shares(self, opened: Sequence[_OpenedReport]) -> Elements:
        """Return the verifier shares, (reports, proofs * verifier_length)."""
        field, circuit = self.field, self.circuit

        def stacked(
            vectors: list[Elements], width: int, rows: int = self.proofs
        ) -> Elements:
            return field.reshape(field.stack(vectors), len(opened), rows, width)

        verifiers = flp.query(
            circuit,
            self.version.basis,
            stacked([report.encoded for report in opened], circuit.length, 1),
            stacked([report.proofs for report in opened], flp.proof_length(circuit)),
            stacked([report.query for report in opened], flp.query_length(circuit)),
            stacked([report.joint for report in opened], circuit.joint_length),
            self.shares,
        )
        flat = field.reshape(
            verifiers, len(opened), self.proofs * flp.verifier_length(circuit)
        )
        return np.moveaxis(flat, len(field.planes), 0)

    def _prepared(self, opened: _OpenedReport, verifier: Elements) -> Prepared:
        state = VerifyState(
            self.circuit.truncate(opened.encoded), opened.joint_seed, opened.bound
        )
        return state, self.field.encode(verifier) + opened.part

    def _opened(
        self, key: bytes, agg: int, report: Received, context: bytes
    ) -> _OpenedReport | ProofRejected | DecodeError:
        """Return a report's share in field elements, and the randomness of its proof."""
        circuit, field = self.circuit, self.field
        try:
            parts = self._parts(report.public_share)
            encoded, proofs, blind = self._expanded(context, agg, report.input_share)
        except DecodeError as error:
            return error
        part = self._joint_part(context, agg, blind, encoded, report.nonce)
        bound = not circuit.joint_length or hmac.compare_digest(parts[agg], part)
        if circuit.joint_length:
            parts[agg] = part
        seed = self._joint_seed(context, parts)
        query_length = flp.query_length(circuit)
        dst = self._dst(QUERY_RANDOMNESS, context)
        binder = bytes([self.proofs]) + report.nonce
        query = expand(self.xof, field, key, dst, binder, self.proofs * query_length)
        points = field.integers(query[..., query_length - 1 :: query_length])
        if not all(flp.usable(field, circuit, point) for point in points):
            return ProofRejected(
                "proof: the query point would reveal the measurement; report again"
            )
        joint = field.reshape(self._joint(context, seed), -1)
        return _OpenedReport(encoded, proofs, query, joint, part, seed, bound)

    def _expanded(
        self, context: bytes, agg: int, share: bytes
    ) -> tuple[Elements, Elements, bytes]:
        """Return measurement share, proofs share and blind; raise DecodeError."""
        size, seed_count = self.xof.seed_bytes, self.version.helper_seeds
        blind_size = size if self.circuit.joint_length else 0
        if agg:
            seeds_end = seed_count * size
            if len(share) != seeds_end + blind_size:
                raise DecodeError(
                    f"input share: {len(share)} bytes are not a helper's share"
                )
            seeds = [share[start : start + size] for start in range(0, seeds_end, size)]
            measurement = self._measurement_share(context, agg, seeds[0])
            proofs = self._proofs_share(context, agg, seeds[-1])
            return measurement, proofs, share[seeds_end:]
        measurement_end = self.field.size * self.circuit.length
        proofs_end = len(share) - blind_size
        proofs_length = self.proofs * flp.proof_length(self.circuit)
        if proofs_end < measurement_end:
            raise DecodeError(
                f"input share: {len(share)} bytes are not a leader's share"
            )
        encoded_proofs = share[measurement_end:proofs_end]
        return (
            self.field.decode(share[:measurement_end], self.circuit.length),
            self.field.decode(encoded_proofs, proofs_length),
            share[proofs_end:],
        )

    def _parts(self, public_share: bytes) -> list[bytes]:
        size = self.xof.seed_bytes if self.circuit.joint_length else 0
        if len(public_share) != size * self.shares:
            raise DecodeError(
                f"public share: it has {len(public_share)} bytes, not "
                f"{size * self.shares}"
            )
        if not size:
            return []
        return [
            public_share[start : start + size]
            for start in range(0, len(public_share), size)
        ]

    # Run by the leader.

    def verifier_message(self, shares: Sequence[bytes], context: bytes = b"") -> bytes:
        """Return the verifier message of a report from all its verifier shares.

        Raise ProofRejected for a wrong proof, DecodeError for a malformed share.
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
                    f"verifier share: it has {len(share)} bytes, not {size + blind}"
                )
            total = field.add(total, field.decode(share[:size], width))
            parts.append(share[size:])
        if not flp.decide(circuit, field.reshape(total, self.proofs, -1)).all():
            raise ProofRejected("proof: the measurement is not in its range")
        return self._joint_seed(context, parts)

    def verify_next(self, state: VerifyState, message: bytes) -> Elements:
        """Return the output share; raise ProofRejected for other joint randomness."""
        if not hmac.compare_digest(state.joint_seed, message):
            raise ProofRejected("proof: the shares do not belong together")
        return state.output

    def decode(self, total: Elements) -> int | list[int]:
        """Return a sum as integers."""
        return self.circuit.decode(total)

    # Auxiliary functions of the draft.

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
        zero_seed = bytes(self.xof.seed_bytes)
        dst = self._dst(JOINT_SEED, context)
        return derive_seed(self.xof, zero_seed, dst, b"".join(parts))

    def _joint(self, context: bytes, seed: bytes) -> Elements:
        """Return the joint randomness, (proofs, joint_length)."""
        length = self.circuit.joint_length
        if not length:
            return self.field.zeros(self.proofs, 0)
        dst, binder = self._dst(JOINT_RANDOMNESS, context), bytes([self.proofs])
        flat = expand(self.xof, self.field, seed, dst, binder, self.proofs * length)
        return self.field.reshape(flat, self.proofs, length)

    def _dst(self, usage: int, context: bytes) -> bytes:
        prefix = bytes([self.version.number, 0]) + self.id.to_bytes(4, "big")
        suffix = context if self.version.has_context else b""
        return prefix + usage.to_bytes(2, "big") + suffix


@dataclass(frozen=True)
class _OpenedReport:
    """A report's share in field elements, and the randomness of its proof."""

    encoded: Elements
    proofs: Elements
    query: Elements
    joint: Elements
    part: bytes
    joint_seed: bytes
    bound: bool
