"""PINE64: small uploads whose proof bounds the L2 norm (draft-chen-cfrg-vdaf-pine-02).

The draft is unfinished and was not reviewed, so both aggregators must run this code. A
squared norm that is small in the field may have wrapped around p. Therefore a hundred
random sums of the entries are proved to be small as well; a vector that wraps passes with
probability below 2^-100. With an empty context the bytes are those of the draft's
vectors.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tactful.errors import DecodeError, InvalidInput, ProofRejected
from tactful.vdaf import flp
from tactful.vdaf.field import Elements, Field
from tactful.vdaf.field64 import FIELD64
from tactful.vdaf.pine_circuit import Checks, Layout, NormEquality
from tactful.vdaf.prio3 import (
    JOINT_PART,
    JOINT_RANDOMNESS,
    JOINT_SEED,
    MEASUREMENT_SHARE,
    PROOF_SHARE,
    PROVE_RANDOMNESS,
    QUERY_RANDOMNESS,
)
from tactful.vdaf.vdaf import NONCE_BYTES, Measurement, Prepared, Received, VerifyState
from tactful.vdaf.xof import HmacSha256Aes128, Xof, derive_seed, expand

PINE64 = 0xFFFF1004  # private code point
VERSION = 1  # of the draft's vectors
WRAP_RANDOMNESS, WRAP_SEED, WRAP_PART = 8, 9, 10
NORM_PROOFS = 1
SIGNS_PER_STEP = 1 << 18  # in memory


@dataclass(frozen=True)
class Pine:
    """Vectors of `dimension` integers whose L2 norm is at most `norm_bound`.

    Entries of a measurement are multiplied by `scale` before they are rounded.
    """

    layout: Layout
    norm: NormEquality
    checks: Checks
    proofs: int = 2
    scale: int = 1
    shares: int = 2
    xof: Xof = HmacSha256Aes128()  # noqa: RUF009 - it is immutable
    id: int = PINE64

    @property
    def field(self) -> Field:
        """The field of the shares."""
        return FIELD64

    @property
    def output_length(self) -> int:
        """The number of elements of an output share."""
        return self.layout.dimension

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The bytes of the public share, the leader's input share, and each helper's."""
        seed, elements = self.xof.seed_bytes, self.layout.sent + self._proofs_length
        return 2 * self.shares * seed, self.field.size * elements + 2 * seed, 4 * seed

    @property
    def verify_key_bytes(self) -> int:
        """The bytes of the verification key, which only the aggregators know."""
        return self.xof.seed_bytes

    @property
    def random_bytes(self) -> int:
        """The number of random bytes that `shard` needs."""
        return (4 * (self.shares - 1) + 3) * self.xof.seed_bytes

    # Run by the client.

    def shard(
        self,
        measurement: Measurement,
        nonce: bytes,
        random: bytes,
        context: bytes = b"",
    ) -> tuple[bytes, list[bytes]]:
        """Return the public share and an input share for each aggregator.

        Raise InvalidInput for a measurement that is not valid.
        """
        if len(nonce) != NONCE_BYTES or len(random) != self.random_bytes:
            raise InvalidInput(
                "random", "it has a wrong number of bytes", "pass `random_bytes` bytes"
            )
        size = self.xof.seed_bytes
        seeds = [random[start : start + size] for start in range(0, len(random), size)]
        # The seeds of each helper: measurement, proofs, wrap blind, blind.
        helpers = [seeds[4 * agg : 4 * agg + 4] for agg in range(self.shares - 1)]
        wrap_blind, blind, prove_seed = seeds[-3:]
        masks = [
            self._mask(context, agg, helper[0]) for agg, helper in enumerate(helpers, 1)
        ]

        first = self._with_norm(measurement)
        length = self.layout.first
        wrap_blinds = [wrap_blind, *(helper[2] for helper in helpers)]
        leader = self._minus(first, [mask[:length] for mask in masks])
        shares = [leader, *(mask[:length] for mask in masks)]
        wrap_parts = self._joint_parts(context, WRAP_PART, wrap_blinds, shares, nonce)
        wrap_seed = self._joint_seed(context, WRAP_SEED, wrap_parts)
        sums = self._sums(context, wrap_seed, first)
        encoded = np.concatenate([first, self._claims(sums)])

        leader = self._minus(encoded, masks)
        blinds = [blind, *(helper[3] for helper in helpers)]
        parts = self._joint_parts(context, JOINT_PART, blinds, [leader, *masks], nonce)
        joint = self._joint(context, self._joint_seed(context, JOINT_SEED, parts))
        full = np.concatenate([encoded, sums])
        proofs = self._prove(context, full, prove_seed, joint)
        proof_masks = [
            self._proofs_mask(context, agg, helper[1])
            for agg, helper in enumerate(helpers, 1)
        ]
        leader_proofs = self._minus(proofs, proof_masks)
        leader_share = self.field.encode(leader) + self.field.encode(leader_proofs)
        helper_shares = [b"".join(helper) for helper in helpers]
        public_share = b"".join([*wrap_parts, *parts])
        return public_share, [leader_share + wrap_blind + blind, *helper_shares]

    def _with_norm(self, measurement: Measurement) -> Elements:
        """Return the vector, and the bits of its squared norm and of the rest to the bound."""
        entries = np.rint(np.asarray(measurement, dtype=np.float64) * self.scale)
        layout = self.layout
        if entries.shape != (layout.dimension,) or not np.isfinite(entries).all():
            raise InvalidInput(
                "measurement", "it is not a vector of finite numbers", "follow the task"
            )
        limit = layout.norm_bound**2
        # The first comparison keeps the integers below from overflowing.
        is_short = np.abs(entries).max() <= layout.norm_bound
        integers = entries.astype(np.int64) if is_short else np.zeros(1, np.int64)
        norm = sum(int(entry) * int(entry) for entry in integers[integers != 0])
        if not is_short or norm > limit:
            raise InvalidInput(
                "measurement", "it exceeds the norm bound", "scale it down"
            )
        bits = _bits(norm, layout.norm_bits) + _bits(limit - norm, layout.norm_bits)
        return np.concatenate(
            [self.field.from_integers(integers), self.field.constants(bits)]
        )

    def _claims(self, sums: Elements) -> Elements:
        """Return the bits of each shifted sum, and the claim that it is in range."""
        layout = self.layout
        bits: list[int] = []
        missing = layout.successes
        for value in self.field.signed(sums):
            is_small = -layout.wrap_bound < value <= layout.wrap_bound
            is_claimed = missing > 0 and is_small
            missing -= is_claimed
            bits += _bits(value + layout.wrap_bound - 1, layout.wrap_bits)
            bits.append(int(is_claimed))
        if missing:
            raise InvalidInput(
                "measurement", "a random sum is too large", "shard it again"
            )
        return self.field.constants(bits)

    def _prove(
        self, context: bytes, encoded: Elements, prove_seed: bytes, joint: Elements
    ) -> Elements:
        field, arity = self.field, self.checks.gadget.arity
        norm_arity = self.norm.gadget.arity * NORM_PROOFS
        dst = self._dst(PROVE_RANDOMNESS, context)
        binder = bytes([NORM_PROOFS, self.proofs])
        length = norm_arity + self.proofs * arity
        seeds = expand(self.xof, field, prove_seed, dst, binder, length)
        encoded = field.reshape(encoded, 1, -1)
        norm_seeds = field.reshape(seeds[:norm_arity], NORM_PROOFS, -1)
        check_seeds = field.reshape(seeds[norm_arity:], self.proofs, -1)
        no_joint = field.zeros(NORM_PROOFS, 0)
        norm = flp.prove(self.norm, "coefficients", encoded, norm_seeds, no_joint)
        checks = flp.prove(self.checks, "coefficients", encoded, check_seeds, joint)
        return np.concatenate([norm.reshape(-1), checks.reshape(-1)])

    # Run by each aggregator.

    def verify_init(
        self,
        verify_key: bytes,
        agg: int,
        reports: Sequence[Received],
        context: bytes = b"",
    ) -> list[Prepared]:
        """Return for each report its state and verifier share, or its error."""
        return [
            self._verify_one(verify_key, agg, report, context) for report in reports
        ]

    def _verify_one(
        self, key: bytes, agg: int, report: Received, context: bytes
    ) -> Prepared:
        try:
            encoded, proofs, wrap_blind, blind = self._expanded(
                context, agg, report.input_share
            )
            wrap_parts, parts = self._parts(report.public_share)
        except DecodeError as error:
            return error
        first, nonce = encoded[: self.layout.first], report.nonce
        client_parts = wrap_parts[agg] + parts[agg]
        wrap_parts[agg] = self._joint_part(
            context, WRAP_PART, agg, wrap_blind, first, nonce
        )
        wrap_seed = self._joint_seed(context, WRAP_SEED, wrap_parts)
        parts[agg] = self._joint_part(context, JOINT_PART, agg, blind, encoded, nonce)
        seed = self._joint_seed(context, JOINT_SEED, parts)
        points = self._points(key, context, nonce)
        if points is None:
            return ProofRejected(
                "proof: the query point would reveal the measurement; report again"
            )
        full = np.concatenate([encoded, self._sums(context, wrap_seed, first)])
        joint = self._joint(context, seed)
        verifier = self._query(full, proofs, points, joint)
        own_parts = wrap_parts[agg] + parts[agg]
        bound = hmac.compare_digest(client_parts, own_parts)
        state = VerifyState(encoded[: self.layout.dimension], wrap_seed + seed, bound)
        return state, self.field.encode(verifier) + own_parts

    def _query(
        self, encoded: Elements, proofs: Elements, points: Elements, joint: Elements
    ) -> Elements:
        field = self.field
        size = NORM_PROOFS * flp.proof_length(self.norm)
        encoded = field.reshape(encoded, 1, -1)
        norm = flp.query(
            self.norm,
            "coefficients",
            encoded,
            field.reshape(proofs[:size], NORM_PROOFS, -1),
            field.reshape(points[:NORM_PROOFS], NORM_PROOFS, 1),
            field.zeros(NORM_PROOFS, 0),
            self.shares,
        )
        checks = flp.query(
            self.checks,
            "coefficients",
            encoded,
            field.reshape(proofs[size:], self.proofs, -1),
            field.reshape(points[NORM_PROOFS:], self.proofs, 1),
            joint,
            self.shares,
        )
        return np.concatenate([norm.reshape(-1), checks.reshape(-1)])

    def _points(self, key: bytes, context: bytes, nonce: bytes) -> Elements | None:
        """Return the query points; None if one of them would reveal the measurement."""
        dst = self._dst(QUERY_RANDOMNESS, context)
        binder = bytes([NORM_PROOFS, self.proofs]) + nonce
        points = expand(
            self.xof, self.field, key, dst, binder, NORM_PROOFS + self.proofs
        )
        circuits = [self.norm] * NORM_PROOFS + [self.checks] * self.proofs
        pairs = zip(circuits, self.field.integers(points), strict=True)
        return points if all(flp.usable(self.field, *pair) for pair in pairs) else None

    def _expanded(
        self, context: bytes, agg: int, share: bytes
    ) -> tuple[Elements, Elements, bytes, bytes]:
        size = self.xof.seed_bytes
        content = share[: -2 * size]
        if agg:
            if len(share) != 4 * size:
                raise DecodeError(
                    f"input share: {len(share)} bytes are not a helper's share"
                )
            encoded = self._mask(context, agg, content[:size])
            proofs = self._proofs_mask(context, agg, content[size:])
        else:
            end = self.field.size * self.layout.sent
            encoded = self.field.decode(content[:end], self.layout.sent)
            proofs = self.field.decode(content[end:], self._proofs_length)
        return encoded, proofs, share[-2 * size : -size], share[-size:]

    def _parts(self, public_share: bytes) -> tuple[list[bytes], list[bytes]]:
        size = self.xof.seed_bytes
        if len(public_share) != 2 * size * self.shares:
            raise DecodeError(
                f"public share: it has {len(public_share)} bytes, not "
                f"{2 * size * self.shares}"
            )
        parts = [
            public_share[start : start + size]
            for start in range(0, len(public_share), size)
        ]
        return parts[: self.shares], parts[self.shares :]

    # Run by the leader.

    def verifier_message(self, shares: Sequence[bytes], context: bytes = b"") -> bytes:
        """Return the verifier message of a report from all its verifier shares.

        Raise ProofRejected for a wrong proof, DecodeError for a malformed share.
        """
        field, seed = self.field, self.xof.seed_bytes
        norm = NORM_PROOFS * flp.verifier_length(self.norm)
        width = norm + self.proofs * flp.verifier_length(self.checks)
        total, wrap_parts, parts = field.zeros(width), [], []
        for share in shares:
            if len(share) != field.size * width + 2 * seed:
                raise DecodeError(
                    f"verifier share: it has {len(share)} bytes, not "
                    f"{field.size * width + 2 * seed}"
                )
            total = field.add(total, field.decode(share[: -2 * seed], width))
            wrap_parts.append(share[-2 * seed : -seed])
            parts.append(share[-seed:])
        norm_verifiers = field.reshape(total[:norm], NORM_PROOFS, -1)
        check_verifiers = total[norm:].reshape(self.proofs, -1)
        norm_accepts = flp.decide(self.norm, norm_verifiers).all()
        if not (norm_accepts and flp.decide(self.checks, check_verifiers).all()):
            raise ProofRejected("proof: the measurement is longer than its bound")
        wrap_seed = self._joint_seed(context, WRAP_SEED, wrap_parts)
        return wrap_seed + self._joint_seed(context, JOINT_SEED, parts)

    def verify_next(self, state: VerifyState, message: bytes) -> Elements:
        """Return the output share; raise ProofRejected for other joint randomness."""
        if not hmac.compare_digest(state.joint_seed, message):
            raise ProofRejected("proof: the shares do not belong together")
        return state.output

    def decode(self, total: Elements) -> list[int]:
        """Return a sum as integers, not yet divided by `scale`."""
        return self.field.signed(total)

    # Auxiliary functions.

    @property
    def _proofs_length(self) -> int:
        norm, checks = flp.proof_length(self.norm), flp.proof_length(self.checks)
        return NORM_PROOFS * norm + self.proofs * checks

    def _sums(self, context: bytes, seed: bytes, first: Elements) -> Elements:
        """Return the sums of entries with random signs: -1 for 00, 1 for 11, else 0."""
        dimension, checks = self.layout.dimension, self.layout.checks
        width = -(-dimension // 4)
        dst = self._dst(WRAP_RANDOMNESS, context)
        stream = self.xof.stream(seed, dst, b"", checks * width)
        rows = np.frombuffer(stream, dtype=np.uint8).reshape(checks, width)
        sums = self.field.zeros(checks)
        step = max(1, SIGNS_PER_STEP // checks // 4) * 4
        for start in range(0, dimension, step):
            end = min(start + step, dimension)
            signs = _SIGNS[rows[:, start // 4 : -(-end // 4)]].reshape(checks, -1)
            part = self.field.signed_sums(signs[:, : end - start], first[start:end])
            sums = self.field.add(sums, part)
        return sums

    def _minus(self, vector: Elements, masks: Sequence[Elements]) -> Elements:
        for mask in masks:
            vector = self.field.subtract(vector, mask)
        return vector

    def _mask(self, context: bytes, agg: int, seed: bytes) -> Elements:
        dst = self._dst(MEASUREMENT_SHARE, context)
        return expand(self.xof, self.field, seed, dst, bytes([agg]), self.layout.sent)

    def _proofs_mask(self, context: bytes, agg: int, seed: bytes) -> Elements:
        dst = self._dst(PROOF_SHARE, context)
        binder = bytes([NORM_PROOFS, self.proofs, agg])
        return expand(self.xof, self.field, seed, dst, binder, self._proofs_length)

    def _joint_parts(
        self,
        context: bytes,
        usage: int,
        blinds: Sequence[bytes],
        shares: Sequence[Elements],
        nonce: bytes,
    ) -> list[bytes]:
        pairs = enumerate(zip(blinds, shares, strict=True))
        return [
            self._joint_part(context, usage, agg, blind, share, nonce)
            for agg, (blind, share) in pairs
        ]

    def _joint_part(
        self,
        context: bytes,
        usage: int,
        agg: int,
        blind: bytes,
        share: Elements,
        nonce: bytes,
    ) -> bytes:
        binder = bytes([agg]) + nonce + self.field.encode(share)
        return derive_seed(self.xof, blind, self._dst(usage, context), binder)

    def _joint_seed(self, context: bytes, usage: int, parts: Sequence[bytes]) -> bytes:
        zero_seed = bytes(self.xof.seed_bytes)
        dst = self._dst(usage, context)
        return derive_seed(self.xof, zero_seed, dst, b"".join(parts))

    def _joint(self, context: bytes, seed: bytes) -> Elements:
        dst, length = self._dst(JOINT_RANDOMNESS, context), self.checks.joint_length
        flat = expand(
            self.xof, self.field, seed, dst, bytes([self.proofs]), self.proofs * length
        )
        return self.field.reshape(flat, self.proofs, length)

    def _dst(self, usage: int, context: bytes) -> bytes:
        return (
            bytes([VERSION])
            + self.id.to_bytes(4, "big")
            + usage.to_bytes(2, "big")
            + context
        )


def pine64(
    layout: Layout,
    chunk: int,
    norm_chunk: int,
    *,
    proofs: int = 3,
    scale: int = 1,
    shares: int = 2,
    xof: Xof | None = None,
    algorithm: int = PINE64,
) -> Pine:
    """Return PINE64 for vectors of integers; the draft's vectors have 1 or 2 proofs."""
    norm, checks = NormEquality(layout, norm_chunk), Checks(layout, chunk)
    xof = HmacSha256Aes128() if xof is None else xof
    return Pine(layout, norm, checks, proofs, scale, shares, xof, algorithm)


def _bits(value: int, count: int) -> list[int]:
    return [value >> place & 1 for place in range(count)]


_PAIRS = np.array([-1.0, 0.0, 0.0, 1.0])  # the sign of two bits
# The four signs of each byte, low bits first.
_SIGNS = _PAIRS[np.arange(256)[:, None] >> np.array([0, 2, 4, 6]) & 3]
