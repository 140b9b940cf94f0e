"""One round as device and aggregators agree on it: a frozen document with two signatures."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from tactful.errors import ProtocolError, TaskRejected
from tactful.protocol.signed_json import (
    canonical,
    decode_signed,
    encode_signed,
    verify_both,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tactful.privacy.mechanism import GaussianRelease, Placement
    from tactful.protocol.dap.dap_task import DapTask
    from tactful.protocol.dap.vdaf_config import VdafConfig
    from tactful.protocol.vector_encoding import Encoding

VERSION = "tactful-1"
SIGNED_AS = b"tactful-1 task"
TIME_PRECISION = 3600  # seconds; a report's time is rounded down to it
MAX_DOCUMENT = 16_384  # bytes


@dataclass(frozen=True, kw_only=True)
class Task:
    """One round of one training; nothing about it changes after it is signed.

    `length` counts the entries of a measurement before padding, `sigma2` ("num/den", squared
    levels) is the noise that each half adds in full or, by `placement`, each device; `honest` how
    many honest devices the claim rests on if they add it in shares, else 0. `opens` and `expires`
    are unix seconds, `guide` the SHA-256 of the round's guide file. The whole training claims
    `epsilon` at `delta`. `nonce`, 16 random bytes in hex, makes every task another.
    A period of an experiment is a task too: `guide` and `catalog` are the hash of its document,
    `items` counts its arms. `protocol` is the version of DAP that carries it, `vdaf` what proves
    each report's bound: every entry in its range, or (`pine64`) the norm itself.
    """

    version: Literal["tactful-1"]
    model: str
    round: int
    rounds: int
    kind: Literal["popularity", "subspace", "gram", "trial", "experiment"]
    catalog: str
    items: int
    length: int
    levels: int
    box: int
    family: Literal["rounded_gaussian", "discrete_gaussian"]
    sigma2: str
    adjacency: Literal["zero_out", "replace_one"]
    unit: Literal["device"]
    epsilon: float
    delta: float
    min_batch_size: int
    leader: str
    helper: str
    opens: int
    expires: int
    guide: str | None
    nonce: str
    placement: Literal["aggregator", "devices", "local"] = "aggregator"
    honest: int = 0
    protocol: Literal["dap-09", "dap-18"] = "dap-18"
    vdaf: Literal["sum_vec_field64", "pine64"] = "sum_vec_field64"
    proofs: int = 3

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    def __post_init__(self) -> None:
        _require(bool(re.fullmatch(r"[a-z0-9-]{1,64}", self.model)), "model")
        _require(0 <= self.round < self.rounds <= 16, "round")
        _require(self.items >= 1, "items")
        _require((self.kind == "popularity") == (self.guide is None), "guide")
        _require(self.kind != "popularity" or self.length == self.items, "length")
        _require(
            bool(re.fullmatch(r"[1-9][0-9]{0,39}/[1-9][0-9]{0,39}", self.sigma2)),
            "sigma2",
        )
        _require(math.isfinite(self.epsilon) and self.epsilon > 0, "epsilon")
        _require(0 < self.delta < 1, "delta")
        _require(1 <= self.length <= 1 << 22, "length")
        _require(2 <= self.levels <= 254 and self.levels % 2 == 0, "levels")
        _require(1 <= self.box <= 16, "box")
        _require(1 <= self.min_batch_size <= 1 << 32, "min_batch_size")
        _require(self.leader != self.helper, "helper")
        _require(0 <= self.opens < self.expires <= 1 << 40, "expires")
        _require(3 <= self.proofs <= 16, "proofs")
        _require(bool(re.fullmatch(r"[0-9a-f]{32}", self.nonce)), "nonce")
        in_shares = self.placement == "devices"
        _require(in_shares <= self.honest <= in_shares * self.min_batch_size, "honest")
        # the norm of noise is not bounded closely, so no proof of it is small
        _require(self.placement == "aggregator" or self.vdaf != "pine64", "vdaf")

    @classmethod
    def parse(cls, document: bytes) -> Task:
        """The task of a document; raises TaskRejected naming the field that is wrong."""
        from pydantic import TypeAdapter, ValidationError

        if len(document) > MAX_DOCUMENT:
            raise TaskRejected(
                f"task: {len(document)} bytes; at most {MAX_DOCUMENT} are read"
            )
        try:
            return TypeAdapter(cls).validate_json(document)
        except ValidationError as wrong:
            first = wrong.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise TaskRejected(f"task.{where}: {first['msg']}") from wrong

    @cached_property
    def document(self) -> bytes:
        """The task in its one canonical form."""
        return canonical(asdict(self))

    @cached_property
    def id(self) -> bytes:
        """The SHA-256 of the document, 32 bytes."""
        return hashlib.sha256(self.document).digest()

    @property
    def encoded_id(self) -> str:
        """The id as it stands in addresses: base64url without padding."""
        return self.dap.encoded_id

    @cached_property
    def dap(self) -> DapTask:
        """The task as DAP knows it; its info is its id, so a report is bound to the document."""
        from tactful.protocol.dap.dap_task import LEADER_SELECTED, DapTask
        from tactful.protocol.dap.versions import VERSIONS

        return DapTask(
            id=self.id,
            dap=VERSIONS[self.protocol],
            leader=self.leader,
            helper=self.helper,
            time_precision=TIME_PRECISION,
            min_batch_size=self.min_batch_size,
            mode=LEADER_SELECTED,
            opens=self.opens,
            expires=self.expires,
            vdaf_config=self.vdaf_config,
            info=self.id,
        )

    @cached_property
    def vdaf_config(self) -> VdafConfig:
        """What proves a report's bound, with the parameters that make it smallest."""
        from tactful.protocol.dap.vdaf_config import pine64_for, sum_vec_field64_for
        from tactful.protocol.vector_encoding import padded_length

        padded = padded_length(self.length)
        if self.vdaf == "pine64":
            return pine64_for(padded, self.norm_bound, self.proofs)
        # -09 proves only ranges up to 2^b - 1
        most = (
            self.most
            if self.protocol == "dap-18"
            else (1 << self.most.bit_length()) - 1
        )
        return sum_vec_field64_for(padded, most, self.proofs)

    def measurement(self, levels: NDArray[np.integer]) -> NDArray[np.int64]:
        """What is sharded: levels with this device's noise, moved so that 0 is `zero`.

        Noise fits the range as it is: a draw is never beyond `reach`, so nothing is cut or wrapped.
        """
        import numpy as np

        from tactful.privacy.discrete_gaussian import NoiseTable, draw

        centred = levels.astype(np.int64) - self.levels // 2
        if self.where.on_device:
            centred += draw(
                NoiseTable.of(self.family, Fraction(self.sigma2)), len(centred)
            )
        return centred + self.zero

    def decode(self, total: NDArray[np.int64], count: int) -> NDArray[np.float64]:
        """The sum of the vectors behind `total`, the signed noisy sum of `count` measurements."""
        return self.encoding.decode(
            total + count * (self.levels // 2 - self.zero), count
        )

    @property
    def where(self) -> Placement:
        """Who adds the noise."""
        from tactful.privacy.mechanism import Placement

        return Placement(self.placement)

    @cached_property
    def reach(self) -> int:
        """The most that a device's noise moves an entry, either way; 0 if the halves add it."""
        from tactful.privacy.discrete_gaussian import largest_draw

        return largest_draw(Fraction(self.sigma2)) if self.where.on_device else 0

    @property
    def most(self) -> int:
        """The largest value of an entry of a measurement, unless its norm is proved."""
        return self.levels + 2 * self.reach

    @property
    def zero(self) -> int:
        """What an entry of 0 is sharded as; if a norm is proved, entries are counted from 0."""
        return 0 if self.vdaf == "pine64" else self.levels // 2 + self.reach

    def noise_variance(self, count: int) -> Fraction:
        """That of all noise in the sum of `count` reports, in squared levels: every part is there.

        Claims count less of it; how far a sum can be trusted is a matter of all.
        """
        return Fraction(self.sigma2) * (count if self.where.on_device else 2)

    @cached_property
    def encoding(self) -> Encoding:
        """How this task turns vectors into whole numbers; raises InvalidInput if it cannot be."""
        from tactful.protocol.vector_encoding import Encoding

        return Encoding(self.length, self.levels, self.box, self.id)

    @property
    def norm_bound(self) -> int:
        """The most that the squares of a measurement's levels, counted from the middle, sum to."""
        from tactful.protocol.vector_encoding import Encoding

        return Encoding(self.length, self.levels, self.box, b"").norm_bound

    @cached_property
    def release(self) -> GaussianRelease:
        """What is charged and claimed, counting one half's noise, or the devices' by `placement`:

        what the sum reveals, or in local mode the report alone.
        """
        from tactful.privacy.mechanism import Adjacency, GaussianRelease, PrivacyUnit

        return GaussianRelease(
            norm_bound=self.encoding.norm_bound,
            sigma2=Fraction(self.sigma2),
            family=self.family,
            dimension=self.encoding.padded,
            adjacency=Adjacency(self.adjacency),
            unit=PrivacyUnit(self.unit),
            gamma2=self.encoding.gamma2,
            placement=self.where,
            n_min=self.honest or self.min_batch_size,
        )


@dataclass(frozen=True)
class SignedTask:
    """A task with both halves' Ed25519 signatures over its document."""

    task: Task
    signatures: Mapping[str, bytes]  # by "leader" and "helper", 64 bytes each

    def encode(self) -> bytes:
        """The JSON that is published."""
        return encode_signed(self.task.document, self.signatures)

    @classmethod
    def decode(cls, body: bytes) -> SignedTask:
        """What was published, not yet verified; raises TaskRejected if it is no signed task."""
        try:
            document, signatures = decode_signed(body)
        except ProtocolError as wrong:
            raise TaskRejected(f"task.{wrong}") from wrong
        return cls(Task.parse(document), signatures)

    def verify(self, leader_key: bytes, helper_key: bytes, now: int) -> Task:
        """The task, once both signatures hold and it is open at `now` (unix seconds).

        Raises TaskRejected.
        """
        try:
            verify_both(
                SIGNED_AS + self.task.document, self.signatures, leader_key, helper_key
            )
        except ProtocolError as wrong:
            raise TaskRejected(f"task.{wrong}") from wrong
        if now < self.task.opens:
            raise TaskRejected("task.opens: it is not open yet; try again later")
        if now >= self.task.expires:
            raise TaskRejected("task.expires: it is over; fetch the newest task")
        return self.task


def _require(holds: bool, field: str) -> None:
    if not holds:
        raise TaskRejected(f"task.{field}: out of range or at odds with another field")
