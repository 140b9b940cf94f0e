"""What a release is: a file of named arrays (safetensors layout) and a signed claim about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, TypedDict

from tactful.errors import DecodeError, ModelRejected, ProtocolError
from tactful.protocol.signed_json import (
    canonical,
    decode_signed,
    encode_signed,
    verify_both,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIGNED_AS = b"tactful-1 release"
MAX_FILE, MAX_HEADER, MAX_ARRAYS = 64 << 20, 1 << 16, 32
DTYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8"}


def pack(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """The arrays as one file, the same bytes for the same arrays (names in order)."""
    import numpy as np

    names = {value: name for name, value in DTYPES.items()}
    header: dict[str, object] = {}
    parts: list[bytes] = []
    at = 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"))
        parts.append(little.tobytes())
        end = at + len(parts[-1])
        dtype = names[little.dtype.newbyteorder("<").str]
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [at, end],
        }
        at = end
    encoded = canonical(header)
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + b"".join(parts)


def unpack(file: bytes) -> dict[str, NDArray[np.generic]]:
    """The arrays of a file; raises DecodeError for anything that does not fit exactly."""
    size = int.from_bytes(file[:8], "little")
    if len(file) < 8 or len(file) > MAX_FILE or size > min(MAX_HEADER, len(file) - 8):
        raise DecodeError("model file: too short, too long or without a header")
    body = file[8 + size :]
    try:
        header = json.loads(file[8 : 8 + size])
        items = sorted(header.items(), key=lambda pair: pair[1]["data_offsets"][0])
        if len(items) > MAX_ARRAYS:
            raise ValueError("too many arrays")
        return _arrays(items, body)
    except (
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as wrong:
        raise DecodeError(
            f"model file: its header and body do not fit ({wrong})"
        ) from wrong


class _Entry(TypedDict):
    dtype: str
    shape: list[int]
    data_offsets: list[int]


def _arrays(
    items: list[tuple[str, _Entry]], body: bytes
) -> dict[str, NDArray[np.generic]]:
    import numpy as np

    arrays: dict[str, NDArray[np.generic]] = {}
    at = 0
    for name, entry in items:
        start, end = entry["data_offsets"]
        if start != at or not at <= end <= len(body):
            raise ValueError(f"{name} has a gap or overlap")
        flat = np.frombuffer(body[start:end], dtype=DTYPES[entry["dtype"]])
        if min(list(entry["shape"]), default=0) < 0:
            raise ValueError(f"{name} has a side below 0")
        arrays[name] = flat.reshape(entry["shape"])
        at = end
    if at != len(body):
        raise ValueError("bytes follow the last array")
    return arrays


@dataclass(frozen=True, kw_only=True)
class ModelRelease:
    """What both halves claim of one model: from which tasks, at what cost, for how long.

    `version` only grows; `tasks` are ids in hex; `batch_size` is the smallest count of reports of
    any task; `placement` says who added the noise; `rho` is exact ("num/den"); `created` and
    `expires` are unix seconds; `file` is the SHA-256 of the model's file.
    """

    version: int
    model: str
    kind: Literal["personal", "popularity"]
    catalog: str
    items: int
    tasks: tuple[str, ...]
    batch_size: int
    epsilon: float
    delta: float
    rho: str
    adjacency: Literal["zero_out", "replace_one"]
    unit: Literal["device"]
    created: int
    expires: int
    file: str
    placement: Literal["aggregator", "devices", "local"]

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    @classmethod
    def parse(cls, document: bytes) -> ModelRelease:
        """The release of a document; raises ModelRejected naming the field that is wrong."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_json(document)
        except ValidationError as wrong:
            first = wrong.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise ModelRejected(f"release.{where}: {first['msg']}") from wrong

    @cached_property
    def document(self) -> bytes:
        """The release in its one canonical form."""
        return canonical(asdict(self))


@dataclass(frozen=True)
class SignedRelease:
    """A release with both halves' Ed25519 signatures over its document."""

    release: ModelRelease
    signatures: Mapping[str, bytes]

    def encode(self) -> bytes:
        """The JSON that is published."""
        return encode_signed(self.release.document, self.signatures)

    @classmethod
    def decode(cls, body: bytes) -> SignedRelease:
        """What was published, not yet verified; raises ModelRejected if it is no release."""
        try:
            document, signatures = decode_signed(body)
        except ProtocolError as wrong:
            raise ModelRejected(f"release.{wrong}") from wrong
        return cls(ModelRelease.parse(document), signatures)

    def verify(
        self,
        leader_key: bytes,
        helper_key: bytes,
        *,
        model: str,
        catalog: str,
        newer_than: int,
        min_batch_size: int,
        now: int,
    ) -> ModelRelease:
        """The release, once signed by both, for this model and catalog, newer, large and fresh.

        `now` is in unix seconds. Raises ModelRejected naming the first thing that is wrong.
        """
        release = self.release
        try:
            verify_both(
                SIGNED_AS + release.document, self.signatures, leader_key, helper_key
            )
        except ProtocolError as wrong:
            raise ModelRejected(f"release.{wrong}") from wrong
        refusals = {
            f"model: it is for {release.model!r}, not {model!r}": release.model
            != model,
            "catalog: it is for another catalog; update the app's items": (
                release.catalog != catalog
            ),
            f"version: {release.version} is not newer than {newer_than}; a rollback is refused": (
                release.version <= newer_than
            ),
            f"batch_size: {release.batch_size} is below this device's floor {min_batch_size}": (
                release.batch_size < min_batch_size
            ),
            "expires: it is over; fetch the newest release": now >= release.expires,
            "created: it is from the future; check the clock": now
            < release.created - 86_400,
        }
        for refusal, applies in refusals.items():
            if applies:
                raise ModelRejected(f"release.{refusal}")
        return release

    def opened(self, file: bytes) -> dict[str, NDArray[np.generic]]:
        """The arrays of the model's file, once it is the file that was signed."""
        if hashlib.sha256(file).hexdigest() != self.release.file:
            raise ModelRejected("release.file: the file is not the one that was signed")
        try:
            return unpack(file)
        except DecodeError as wrong:
            raise ModelRejected(f"release.file: {wrong}") from wrong
