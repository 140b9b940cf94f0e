"""PINE64: small uploads, whose proof bounds the L2 norm itself (draft-chen-cfrg-vdaf-pine-02).

An unfinished draft, never reviewed: for a leader and a helper that both run this code. A squared
norm that is small in the field is small only if it did not wrap around p, so a hundred random sums
of the entries are shown to be small as well; one that is not passes with probability below 2^-100.
With an empty context the bytes are those of the draft's vectors.
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
DRAW = 1 << 18  # signs in memory at a time


@dataclass(frozen=True)
class Pine:
    """Vectors of whole numbers whose L2 norm is at most `norm_bound`, `dimension` entries long.

    `scale` is what a measurement's entries are multiplied with before they are rounded.
    """

    layout: Layout
    norm: NormEquality
    checks: Checks
    proofs: int = 2
    scale: int = 1
    shares: int = 2
    xof: Xof = HmacSha256Aes128()  # noqa: RUF009 - it is a value
    id: int = PINE64

    @property
    def field(self) -> Field:
        """The field of its shares."""
        return FIELD64

    @property
    def output_length(self) -> int:
        """Elements of a sum."""
        return self.layout.dimension

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Bytes of the public share, of the first input share, and of each other one."""
        seed, elements = self.xof.seed_bytes, self.layout.sent + self._proofs_length
        return 2 * self.shares * seed, self.field.size * elements + 2 * seed, 4 * seed

    @property
    def verify_key_bytes(self) -> int:
        """The length of what both aggregators know and no client."""
        return self.xof.seed_bytes

    @property
    def random_bytes(self) -> int:
        """How many random bytes `shard` needs."""
        return (4 * (self.shares - 1) + 3) * self.xof.seed_bytes

    # the client

    def shard(
        self,
        measurement: Measurement,
        nonce: bytes,
        random: bytes,
        context: bytes = b"",
    ) -> tuple[bytes, list[bytes]]:
        """(public share, one input share for each aggregator); raises InvalidInput."""
        if len(nonce) != NONCE_BYTES or len(random) != self.random_bytes:
            raise InvalidInput(
                "random", "a wrong number of bytes", "draw as many as it says"
            )
        size = self.xof.seed_bytes
        seeds = [random[at : at + size] for at in range(0, len(random), size)]
        helpers = [seeds[4 * at : 4 * at + 4] for at in range(self.shares - 1)]
        wrap_blind, blind, prove_seed = seeds[-3:]
        masks = [self._mask(context, agg, own[0]) for agg, own in enumerate(helpers, 1)]

        first = self._with_norm(measurement)
        length = self.layout.first
        wrap_blinds = [wrap_blind, *(own[2] for own in helpers)]
        leader = self._minus(first, [mask[:length] for mask in masks])
        shares = [leader, *(mask[:length] for mask in masks)]
        wrap_parts = self._joint_parts(context, WRAP_PART, wrap_blinds, shares, nonce)
        wrap_seed = self._joint_seed(context, WRAP_SEED, wrap_parts)
        sums = self._sums(context, wrap_seed, first)
        encoded = np.concatenate([first, self._claims(sums)])

        leader = self._minus(encoded, masks)
        blinds = [blind, *(own[3] for own in helpers)]
        parts = self._joint_parts(context, JOINT_PART, blinds, [leader, *masks], nonce)
        joint = self._joint(context, self._joint_seed(context, JOINT_SEED, parts))
        proofs = self._prove(
            context, np.concatenate([encoded, sums]), prove_seed, joint
        )
        others = [
            self._proofs_mask(context, agg, own[1])
            for agg, own in enumerate(helpers, 1)
        ]
        mine = self.field.encode(leader) + self.field.encode(
            self._minus(proofs, others)
        )
        return b"".join([*wrap_parts, *parts]), [
            mine + wrap_blind + blind,
            *(b"".join(own) for own in helpers),
        ]

    def _with_norm(self, measurement: Measurement) -> Elements:
        """The vector, and the bits of its squared norm and of what that leaves to the bound."""
        entries = np.rint(np.asarray(measurement, dtype=np.float64) * self.scale)
        layout = self.layout
        if entries.shape != (layout.dimension,) or not np.isfinite(entries).all():
            raise InvalidInput(
                "measurement", "it is no finite vector", "follow the task"
            )
        whole = (
            entries.astype(np.int64)
            if np.abs(entries).max() <= layout.norm_bound
            else None
        )
        norm = (
            None if whole is None else sum(int(x) * int(x) for x in whole[whole != 0])
        )
        if whole is None or norm is None or norm > layout.norm_bound**2:
            raise InvalidInput(
                "measurement", "it exceeds the norm bound", "nothing was sent"
            )
        bits = _bits(norm, layout.norm_bits) + _bits(
            layout.norm_bound**2 - norm, layout.norm_bits
        )
        return np.concatenate(
            [self.field.from_integers(whole), self.field.constants(bits)]
        )

    def _claims(self, sums: Elements) -> Elements:
        """The bits of each sum, moved to be positive, and the claim that it is in range."""
        layout, bits, left = self.layout, [], self.layout.successes
        for value in self.field.signed(sums):
            claimed = left > 0 and -layout.wrap_bound < value <= layout.wrap_bound
            left -= claimed
            bits += [
                *_bits(value + layout.wrap_bound - 1, layout.wrap_bits),
                int(claimed),
            ]
        if left:
            raise InvalidInput("measurement", "an unlucky draw", "shard it again")
        return self.field.constants(bits)

    def _prove(
        self, context: bytes, encoded: Elements, prove_seed: bytes, joint: Elements
    ) -> Elements:
        field, arity = self.field, self.checks.gadget.arity
        norm_arity = self.norm.gadget.arity * NORM_PROOFS
        dst, binder = (
            self._dst(PROVE_RANDOMNESS, context),
            bytes([NORM_PROOFS, self.proofs]),
        )
        length = norm_arity + self.proofs * arity
        seeds = expand(self.xof, field, prove_seed, dst, binder, length)
        one = field.reshape(encoded, 1, -1)
        norm_seeds = field.reshape(seeds[:norm_arity], NORM_PROOFS, -1)
        rest = field.reshape(seeds[norm_arity:], self.proofs, -1)
        nothing = field.zeros(NORM_PROOFS, 0)
        norm = flp.prove(self.norm, "coefficients", one, norm_seeds, nothing)
        others = flp.prove(self.checks, "coefficients", one, rest, joint)
        return np.concatenate([norm.reshape(-1), others.reshape(-1)])

    # each aggregator

    def verify_init(
        self,
        verify_key: bytes,
        agg: int,
        reports: Sequence[Received],
        context: bytes = b"",
    ) -> list[Prepared]:
        """For each report its state and encoded verifier share, or what is wrong with it alone."""
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
        except DecodeError as wrong:
            return wrong
        first, nonce = encoded[: self.layout.first], report.nonce
        stated = wrap_parts[agg] + parts[agg]
        wrap_parts[agg] = self._joint_part(
            context, WRAP_PART, agg, wrap_blind, first, nonce
        )
        wrap_seed = self._joint_seed(context, WRAP_SEED, wrap_parts)
        parts[agg] = self._joint_part(context, JOINT_PART, agg, blind, encoded, nonce)
        seed = self._joint_seed(context, JOINT_SEED, parts)
        points = self._points(key, context, nonce)
        if points is None:
            return ProofRejected(
                "proof: it met a point that would reveal it; report again"
            )
        whole = np.concatenate([encoded, self._sums(context, wrap_seed, first)])
        joint = self._joint(context, seed)
        verifier = self._query(whole, proofs, points, joint)
        bound = hmac.compare_digest(stated, wrap_parts[agg] + parts[agg])
        state = VerifyState(encoded[: self.layout.dimension], wrap_seed + seed, bound)
        return state, self.field.encode(verifier) + wrap_parts[agg] + parts[agg]

    def _query(
        self, encoded: Elements, proofs: Elements, points: Elements, joint: Elements
    ) -> Elements:
        field = self.field
        size, one = (
            NORM_PROOFS * flp.proof_length(self.norm),
            field.reshape(encoded, 1, -1),
        )
        norm = flp.query(
            self.norm,
            "coefficients",
            one,
            field.reshape(proofs[:size], NORM_PROOFS, -1),
            field.reshape(points[:NORM_PROOFS], NORM_PROOFS, 1),
            field.zeros(NORM_PROOFS, 0),
            self.shares,
        )
        others = flp.query(
            self.checks,
            "coefficients",
            one,
            field.reshape(proofs[size:], self.proofs, -1),
            field.reshape(points[NORM_PROOFS:], self.proofs, 1),
            joint,
            self.shares,
        )
        return np.concatenate([norm.reshape(-1), others.reshape(-1)])

    def _points(self, key: bytes, context: bytes, nonce: bytes) -> Elements | None:
        """Where polynomials are compared; None if one of the points would reveal something."""
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
        own = share[: -2 * size]
        if agg:
            if len(share) != 4 * size:
                raise DecodeError(f"input share: {len(share)} bytes are not a helper's")
            encoded = self._mask(context, agg, own[:size])
            proofs = self._proofs_mask(context, agg, own[size:])
        else:
            end = self.field.size * self.layout.sent
            encoded = self.field.decode(own[:end], self.layout.sent)
            proofs = self.field.decode(own[end:], self._proofs_length)
        return encoded, proofs, share[-2 * size : -size], share[-size:]

    def _parts(self, public_share: bytes) -> tuple[list[bytes], list[bytes]]:
        size = self.xof.seed_bytes
        if len(public_share) != 2 * size * self.shares:
            raise DecodeError(f"public share: {len(public_share)} bytes")
        parts = [
            public_share[at : at + size] for at in range(0, len(public_share), size)
        ]
        return parts[: self.shares], parts[self.shares :]

    # together

    def verifier_message(self, shares: Sequence[bytes], context: bytes = b"") -> bytes:
        """What all verifier shares of a report say together.

        Raises ProofRejected if the proof does not hold, DecodeError for a malformed share.
        """
        field, seed = self.field, self.xof.seed_bytes
        norm = NORM_PROOFS * flp.verifier_length(self.norm)
        width = norm + self.proofs * flp.verifier_length(self.checks)
        total, wrap_parts, parts = field.zeros(width), [], []
        for share in shares:
            if len(share) != field.size * width + 2 * seed:
                raise DecodeError(f"verifier share: {len(share)} bytes")
            total = field.add(total, field.decode(share[: -2 * seed], width))
            wrap_parts.append(share[-2 * seed : -seed])
            parts.append(share[-seed:])
        holds = flp.decide(
            self.norm, field.reshape(total[:norm], NORM_PROOFS, -1)
        ).all()
        if not (
            holds
            and flp.decide(self.checks, total[norm:].reshape(self.proofs, -1)).all()
        ):
            raise ProofRejected("proof: the measurement is longer than its bound")
        return self._joint_seed(context, WRAP_SEED, wrap_parts) + self._joint_seed(
            context, JOINT_SEED, parts
        )

    def verify_next(self, state: VerifyState, message: bytes) -> Elements:
        """The output share, once the randomness is what the client was bound to.

        Raises ProofRejected.
        """
        if not hmac.compare_digest(state.joint_seed, message):
            raise ProofRejected("proof: the shares do not belong together")
        return state.output

    def decode(self, total: Elements) -> list[int]:
        """A sum as whole numbers, not yet divided by `scale`."""
        return self.field.signed(total)

    # auxiliary functions

    @property
    def _proofs_length(self) -> int:
        norm, checks = flp.proof_length(self.norm), flp.proof_length(self.checks)
        return NORM_PROOFS * norm + self.proofs * checks

    def _sums(self, context: bytes, seed: bytes, first: Elements) -> Elements:
        """The entries, summed with each row of random signs: -1 for 00, 1 for 11, else 0."""
        dimension, checks = self.layout.dimension, self.layout.checks
        width = -(-dimension // 4)
        dst = self._dst(WRAP_RANDOMNESS, context)
        stream = self.xof.stream(seed, dst, b"", checks * width)
        rows = np.frombuffer(stream, dtype=np.uint8).reshape(checks, width)
        sums = self.field.zeros(checks)
        step = max(1, DRAW // checks // 4) * 4
        for start in range(0, dimension, step):
            end = min(start + step, dimension)
            signs = _SIGNS[rows[:, start // 4 : -(-end // 4)]].reshape(checks, -1)
            here = self.field.signed_sums(signs[:, : end - start], first[start:end])
            sums = self.field.add(sums, here)
        return sums

    def _minus(self, vector: Elements, masks: Sequence[Elements]) -> Elements:
        for mask in masks:
            vector = self.field.subtract(vector, mask)
        return vector

    def _mask(self, context: bytes, agg: int, seed: bytes) -> Elements:
        dst = self._dst(MEASUREMENT_SHARE, context)
        return expand(self.xof, self.field, seed, dst, bytes([agg]), self.layout.sent)

    def _proofs_mask(self, context: bytes, agg: int, seed: bytes) -> Elements:
        dst, binder = (
            self._dst(PROOF_SHARE, context),
            bytes([NORM_PROOFS, self.proofs, agg]),
        )
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
        nothing = bytes(self.xof.seed_bytes)
        return derive_seed(
            self.xof, nothing, self._dst(usage, context), b"".join(parts)
        )

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
    """PINE64 for vectors of whole numbers; the draft's vectors have one or two proofs."""
    norm, checks = NormEquality(layout, norm_chunk), Checks(layout, chunk)
    chosen = HmacSha256Aes128() if xof is None else xof
    return Pine(layout, norm, checks, proofs, scale, shares, chosen, algorithm)


def _bits(value: int, count: int) -> list[int]:
    return [value >> place & 1 for place in range(count)]


_PAIRS = np.array([-1.0, 0.0, 0.0, 1.0])  # what two bits stand for
_SIGNS = _PAIRS[
    np.arange(256)[:, None] >> np.array([0, 2, 4, 6]) & 3
]  # by byte, low bits first
