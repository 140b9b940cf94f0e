"""Tasks: one round of a training, as an immutable document with two signatures."""

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
    """One round of one training; it does not change after it was signed.

    - `length`: the entries of a measurement, before padding.
    - `sigma2`: the noise ("num/den", squared levels) that each aggregator adds in full
      or, by `placement`, each device.
    - `honest`: the number of honest devices that the claim needs if they add noise in
      shares, else 0.
    - `opens`, `expires`: in unix seconds.
    - `guide`: the SHA-256 of the file with the round parameters.
    - `epsilon`, `delta`: the claim of the whole training.
    - `nonce`: 16 random bytes in hex, which make every task different.
    - `protocol`: the version of DAP.
    - `vdaf`: what proves the bound of a report: each entry is in its range, or
      (`pine64`) the norm is bounded.

    A period of an experiment is a task too. Its `guide` and `catalog` are the hash of
    the experiment's document, and `items` is the number of arms.
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
        """Raise TaskRejected for a wrong field."""
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
        # The norm of noise has no tight bound, so a proof of it would be large.
        _require(self.placement == "aggregator" or self.vdaf != "pine64", "vdaf")

    @classmethod
    def parse(cls, document: bytes) -> Task:
        """Return the task of a document; raise TaskRejected for a wrong field."""
        from pydantic import TypeAdapter, ValidationError

        if len(document) > MAX_DOCUMENT:
            raise TaskRejected(
                f"task: it has {len(document)} bytes, more than {MAX_DOCUMENT}"
            )
        try:
            return TypeAdapter(cls).validate_json(document)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "document"
            raise TaskRejected(f"task.{field}: {first['msg']}") from error

    @cached_property
    def document(self) -> bytes:
        """The task in its canonical form."""
        return canonical(asdict(self))

    @cached_property
    def id(self) -> bytes:
        """The SHA-256 of the document, 32 bytes."""
        return hashlib.sha256(self.document).digest()

    @property
    def encoded_id(self) -> str:
        """The id as used in addresses: base64url without padding."""
        return self.dap.encoded_id

    @cached_property
    def dap(self) -> DapTask:
        """The task in terms of DAP.

        Its info is its id, so that a report is bound to the document.
        """
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
        """The VDAF that proves the bound of a report, with the smallest proofs."""
        from tactful.protocol.dap.vdaf_config import pine64_for, sum_vec_field64_for
        from tactful.protocol.vector_encoding import padded_length

        padded = padded_length(self.length)
        if self.vdaf == "pine64":
            return pine64_for(padded, self.norm_bound, self.proofs)
        most = self.most
        if self.protocol == "dap-09":
            # DAP-09 proves only ranges up to 2^b - 1.
            most = (1 << most.bit_length()) - 1
        return sum_vec_field64_for(padded, most, self.proofs)

    def measurement(self, levels: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return what is sharded: levels plus the device's noise, with 0 at `zero`.

        Noise is never larger than `reach`, so nothing is clipped or wraps around.
        """
        import numpy as np

        from tactful.privacy.discrete_gaussian import NoiseTable, draw

        centred = levels.astype(np.int64) - self.levels // 2
        if self.where.on_device:
            table = NoiseTable.of(self.family, Fraction(self.sigma2))
            centred += draw(table, len(centred))
        return centred + self.zero

    def decode(self, total: NDArray[np.int64], count: int) -> NDArray[np.float64]:
        """Return the sum of vectors; `total` is the noisy sum of `count` measurements."""
        shift = count * (self.levels // 2 - self.zero)
        return self.encoding.decode(total + shift, count)

    @property
    def where(self) -> Placement:
        """The noise placement: who adds the noise."""
        from tactful.privacy.mechanism import Placement

        return Placement(self.placement)

    @cached_property
    def reach(self) -> int:
        """The largest absolute noise of a device; 0 if the aggregators add the noise."""
        from tactful.privacy.discrete_gaussian import largest_draw

        return largest_draw(Fraction(self.sigma2)) if self.where.on_device else 0

    @property
    def most(self) -> int:
        """The largest value of an entry, if the ranges of entries are proved."""
        return self.levels + 2 * self.reach

    @property
    def zero(self) -> int:
        """The value that stands for an entry of 0."""
        return 0 if self.vdaf == "pine64" else self.levels // 2 + self.reach

    def noise_variance(self, count: int) -> Fraction:
        """Return the variance of the noise in a sum of `count` reports, squared levels.

        It includes all noise, for estimates of accuracy. Privacy claims count less,
        because some of the parties may not add theirs.
        """
        parts = count if self.where.on_device else 2
        return Fraction(self.sigma2) * parts

    @cached_property
    def encoding(self) -> Encoding:
        """The encoding of vectors as integers; raises InvalidInput if it is impossible."""
        from tactful.protocol.vector_encoding import Encoding

        return Encoding(self.length, self.levels, self.box, self.id)

    @property
    def norm_bound(self) -> int:
        """The largest squared norm of a measurement's centred levels."""
        from tactful.protocol.vector_encoding import Encoding

        return Encoding(self.length, self.levels, self.box, b"").norm_bound

    @cached_property
    def release(self) -> GaussianRelease:
        """The mechanism that is charged and claimed.

        It counts the noise of one aggregator, or that of the devices by `placement`. It
        covers the sum or, with local noise, the report alone.
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
    """A task with the Ed25519 signatures of both aggregators over its document.

    `signatures` has 64 bytes each for "leader" and "helper".
    """

    task: Task
    signatures: Mapping[str, bytes]

    def encode(self) -> bytes:
        """Return the published JSON."""
        return encode_signed(self.task.document, self.signatures)

    @classmethod
    def decode(cls, body: bytes) -> SignedTask:
        """Return the published task, not verified; raise TaskRejected for another body."""
        try:
            document, signatures = decode_signed(body)
        except ProtocolError as error:
            raise TaskRejected(f"task.{error}") from error
        return cls(Task.parse(document), signatures)

    def verify(self, leader_key: bytes, helper_key: bytes, now: int) -> Task:
        """Return the task if both signed it and it is open at `now` (unix seconds).

        Raise TaskRejected otherwise.
        """
        message = SIGNED_AS + self.task.document
        try:
            verify_both(message, self.signatures, leader_key, helper_key)
        except ProtocolError as error:
            raise TaskRejected(f"task.{error}") from error
        if now < self.task.opens:
            raise TaskRejected("task.opens: it is not open yet; try again later")
        if now >= self.task.expires:
            raise TaskRejected("task.expires: it has passed; fetch the newest task")
        return self.task


def _require(holds: bool, field: str) -> None:
    if not holds:
        raise TaskRejected(
            f"task.{field}: it is out of range, or contradicts another field; ask the "
            "operator to correct the task"
        )
