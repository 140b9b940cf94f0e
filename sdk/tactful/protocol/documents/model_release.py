"""Releases: a file of named arrays (safetensors layout), and a signed claim about it."""

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
MAX_CLOCK_ERROR = 86_400  # seconds that a device may be behind
DTYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8"}


def pack(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Return the arrays as one file; the same arrays give the same bytes."""
    import numpy as np

    names = {value: name for name, value in DTYPES.items()}
    header: dict[str, object] = {}
    parts: list[bytes] = []
    start = 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"))
        parts.append(little.tobytes())
        end = start + len(parts[-1])
        dtype = names[little.dtype.newbyteorder("<").str]
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
        start = end
    encoded = canonical(header)
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + b"".join(parts)


def unpack(file: bytes) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of a file; raise DecodeError unless it is exactly right."""
    size = int.from_bytes(file[:8], "little")
    if len(file) < 8 or len(file) > MAX_FILE or size > min(MAX_HEADER, len(file) - 8):
        raise DecodeError("model file: it is too short, too long or without a header")
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
    ) as error:
        raise DecodeError(
            f"model file: its header and body do not fit ({error})"
        ) from error


class _Entry(TypedDict):
    dtype: str
    shape: list[int]
    data_offsets: list[int]


def _arrays(
    items: list[tuple[str, _Entry]], body: bytes
) -> dict[str, NDArray[np.generic]]:
    import numpy as np

    arrays: dict[str, NDArray[np.generic]] = {}
    position = 0
    for name, entry in items:
        start, end = entry["data_offsets"]
        if start != position or not position <= end <= len(body):
            raise ValueError(f"{name} has a gap or overlap")
        flat = np.frombuffer(body[start:end], dtype=DTYPES[entry["dtype"]])
        if min(list(entry["shape"]), default=0) < 0:
            raise ValueError(f"{name} has a negative dimension")
        arrays[name] = flat.reshape(entry["shape"])
        position = end
    if position != len(body):
        raise ValueError("bytes follow the last array")
    return arrays


@dataclass(frozen=True, kw_only=True)
class ModelRelease:
    """The claim of both aggregators about one model: its tasks, its cost, its period.

    - `version`: it only grows.
    - `tasks`: ids in hex; `batch_size`: the smallest number of reports of any task.
    - `placement`: who added the noise; `rho`: the exact cost ("num/den").
    - `created`, `expires`: in unix seconds.
    - `file`: the SHA-256 of the model's file.
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
        """Return the release of a document; raise ModelRejected for a wrong field."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_json(document)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "document"
            raise ModelRejected(f"release.{field}: {first['msg']}") from error

    @cached_property
    def document(self) -> bytes:
        """The release in its canonical form."""
        return canonical(asdict(self))


@dataclass(frozen=True)
class SignedRelease:
    """A release with the Ed25519 signatures of both aggregators over its document."""

    release: ModelRelease
    signatures: Mapping[str, bytes]

    def encode(self) -> bytes:
        """Return the published JSON."""
        return encode_signed(self.release.document, self.signatures)

    @classmethod
    def decode(cls, body: bytes) -> SignedRelease:
        """Return the published release, not verified.

        Raise ModelRejected for another body.
        """
        try:
            document, signatures = decode_signed(body)
        except ProtocolError as error:
            raise ModelRejected(f"release.{error}") from error
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
        """Return the release if both signed it and it is acceptable.

        It must be for this model and catalog, newer than `newer_than`, from batches of
        at least `min_batch_size`, and valid at `now` (unix seconds). Raise
        ModelRejected for the first thing that is wrong.
        """
        release = self.release
        message = SIGNED_AS + release.document
        try:
            verify_both(message, self.signatures, leader_key, helper_key)
        except ProtocolError as error:
            raise ModelRejected(f"release.{error}") from error
        if release.model != model:
            problem = f"model: it is for {release.model!r}, not {model!r}"
        elif release.catalog != catalog:
            problem = "catalog: it is for another catalog; update the app's items"
        elif release.version <= newer_than:
            problem = (
                f"version: {release.version} is not newer than {newer_than}; "
                "a rollback is refused"
            )
        elif release.batch_size < min_batch_size:
            problem = (
                f"batch_size: {release.batch_size} is below the minimum of this device, "
                f"{min_batch_size}"
            )
        elif now >= release.expires:
            problem = "expires: it has passed; fetch the newest release"
        elif now < release.created - MAX_CLOCK_ERROR:
            problem = "created: it is in the future; check the clock"
        else:
            return release
        raise ModelRejected(f"release.{problem}")

    def opened(self, file: bytes) -> dict[str, NDArray[np.generic]]:
        """Return the arrays of the model's file.

        Raise ModelRejected unless it is the signed file.
        """
        if hashlib.sha256(file).hexdigest() != self.release.file:
            raise ModelRejected(
                "release.file: the file differs from the signed hash; fetch it again"
            )
        try:
            return unpack(file)
        except DecodeError as error:
            raise ModelRejected(f"release.file: {error}") from error
