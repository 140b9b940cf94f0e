"""What is shown to an auditor: a folder of plain documents under one signed list of their hashes.

Nothing in it is of a person; whatever is missing makes a check NOT-RUN, never passed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.protocol.signed_json import canonical, is_signed

SIGNED_AS = b"tactful-1 evidence"
SCHEMA = 1
MANIFEST, DOCUMENTS, ARRAYS = "manifest.json", "documents.json", "arrays.npz"
MAX_FILE, MAX_ARRAYS = 256 << 20, 1 << 30  # bytes of a file, and of all arrays unpacked
UNREADABLE = (
    *(ValueError, OSError, KeyError, EOFError, MemoryError, NotImplementedError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error),
)
STRICT: dict[str, object] = {"extra": "forbid", "strict": True}
Numbers = NDArray[np.int64] | NDArray[np.float64]  # floats are shown, and refuted


@dataclass(frozen=True, kw_only=True)
class OperatorClaim:
    """What an operator says: all releases of `model` together are (`epsilon`, `delta`)-private.

    `rho` is exact ("num/den"); `eligible` counts the devices that could take part; `sampling` and
    `scheduler` say how a batch was chosen, and by which code; `hidden_from` names whoever is said
    not to see who took part; `placement` says who adds the noise.
    """

    model: str
    epsilon: float
    delta: float
    rho: str
    unit: str
    adjacency: str
    eligible: int
    sampling: str = "all"
    scheduler: str = "all"
    hidden_from: tuple[str, ...] = ()
    placement: Literal["aggregator", "devices", "local"] = "aggregator"
    class_: Literal["PROVED", "CROSS-CHECKED"] = "PROVED"
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT


@dataclass(frozen=True, kw_only=True)
class PublishedKeys:
    """The public Ed25519 keys of both halves, base64; an auditor gets them from the operators."""

    leader: str
    helper: str
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def decoded(self) -> tuple[bytes, bytes]:
        """(leader's, helper's) 32 bytes."""
        try:
            leader, helper = (
                base64.b64decode(k, validate=True) for k in (self.leader, self.helper)
            )
        except ValueError as wrong:
            raise InvalidInput(
                "evidence.keys", "not base64", "copy them from `init`"
            ) from wrong
        return leader, helper


@dataclass(frozen=True, kw_only=True)
class SeenCheckpoint:
    """A signed head of the log and who saw it."""

    seen_by: str
    checkpoint: str
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """What the device's own code made of one hostile vector, noise off and coins frozen.

    `squares` is the sum of squares of the whole numbers it would send, `distance2` the squared
    distance to what it sends for a history of nothing, `calls` the functions it went through.
    """

    name: str
    refused: bool
    squares: int
    distance2: int
    calls: tuple[str, ...]
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT


@dataclass(frozen=True, kw_only=True)
class NeighbourReplay:
    """All neighbours of one task (its document, as JSON)."""

    task: str
    neighbours: tuple[Neighbour, ...]
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """Noise as a staging pair drew it: the known sum taken off, shape (batches, adders, length).

    Those who add it are the two halves, or some devices where devices do.
    """

    family: str
    sigma2: str
    values: Numbers


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """One canary a coin: sent through the real client and pair where the coin said so.

    `commitment` is the SHA-256 of `opened`, from which the coins are drawn, and was fixed before
    anything was sent. `scores` are the released sum's shares of each canary; `rho` is the batch's.
    """

    rho: str
    delta: float
    commitment: str
    opened: str
    scores: tuple[float, ...]
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def coins(self) -> NDArray[np.float64]:
        """1 for each canary that was sent, 0 for each that was not."""
        stream = hashlib.shake_128(bytes.fromhex(self.opened)).digest(
            len(self.scores) // 8 + 1
        )
        bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8))
        return bits[: len(self.scores)].astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Upload:
    """One report as it left a device whose history is named; `body` is base64.

    `shares` are its two plaintext shares as the staging halves opened them, base64, and
    `measurement` the whole numbers that they sum to, for devices made for the audit; `task` is the
    document of the task it was for.
    """

    history: str
    url: str
    headers: Mapping[str, str]
    body: str
    shares: tuple[str, ...] = ()
    measurement: tuple[int, ...] = ()
    task: str = ""
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT


@dataclass(frozen=True, kw_only=True)
class ObservedRefusal:
    """What the running pair answered when it was asked for what it must not give."""

    check: str
    tried: str
    answers: tuple[str, ...]
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT


@dataclass(frozen=True, kw_only=True)
class Documents:
    """All that is shown but whole arrays; a tuple is empty, or a value None, if nothing was.

    `tasks`, `releases`, `log`, `records` and `ledgers` are the very texts that were published or
    exported.
    """

    claim: OperatorClaim | None = None
    keys: PublishedKeys | None = None
    tasks: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    heads: tuple[SeenCheckpoint, ...] = ()
    records: tuple[str, ...] = ()
    ledgers: tuple[str, ...] = ()
    replay: NeighbourReplay | None = None
    canaries: tuple[Canaries, ...] = ()
    uploads: tuple[Upload, ...] = ()
    refusals: tuple[ObservedRefusal, ...] = ()
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The documents, and the arrays: noisy `sums` by their SHA-256, and noise `residuals`.

    `made_by` is the public key (hex) that signed it, empty if it was put together by hand.
    """

    documents: Documents = field(default_factory=Documents)
    sums: Mapping[str, Numbers] = field(default_factory=dict)
    residuals: Residuals | None = None
    made_by: str = ""


def write(folder: Path, evidence: Evidence, secret: bytes) -> None:
    """Write a bundle to `folder`, signed with an Ed25519 key of 32 `secret` bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from pydantic import TypeAdapter

    signer = Ed25519PrivateKey.from_private_bytes(secret)
    documents = TypeAdapter(Documents).dump_json(evidence.documents, indent=1)
    contents = {DOCUMENTS: documents, ARRAYS: _packed(evidence)}
    hashes = {
        name: hashlib.sha256(content).hexdigest() for name, content in contents.items()
    }
    listed = canonical({"schema": SCHEMA, "files": hashes})
    manifest = {
        "document": listed.decode(),
        "public_key": signer.public_key().public_bytes_raw().hex(),
        "signature": base64.b64encode(signer.sign(SIGNED_AS + listed)).decode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / MANIFEST).write_bytes(canonical(manifest))


def read(folder: Path, trusted: str = "") -> Evidence:
    """The bundle in `folder`, every byte of it as it was signed.

    `trusted` is the public key (hex) it must be signed by, empty for any. Raises InvalidInput
    naming the file that is missing, cut, changed, foreign or not what it should be.
    """
    hashes, public_key = _manifest(_content(folder, MANIFEST), trusted)
    contents = {name: _content(folder, name) for name in (DOCUMENTS, ARRAYS)}
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != hashes.get(name):
            raise _wrong(name, "it is cut, or not the file that was signed")
    arrays = _unpacked(contents[ARRAYS])
    family, sigma2 = _law(arrays)
    values = arrays.pop("residuals", None)
    return Evidence(
        documents=parse(contents[DOCUMENTS]),
        sums={name.removeprefix("sum_"): total for name, total in arrays.items()},
        residuals=None
        if values is None
        else Residuals(family=family, sigma2=sigma2, values=values),
        made_by=public_key,
    )


def parse(content: bytes) -> Documents:
    """The documents in `content`; raises InvalidInput naming the field that is wrong."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Documents).validate_json(content)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise _wrong(f"{DOCUMENTS}: {where}", first["msg"]) from wrong


def _manifest(content: bytes, trusted: str) -> tuple[Mapping[str, str], str]:
    try:
        manifest = json.loads(content)
        document, public_key = str(manifest["document"]), str(manifest["public_key"])
        signature = base64.b64decode(str(manifest["signature"]))
        listed = json.loads(document)
        schema, files = (
            listed["schema"],
            {str(k): str(v) for k, v in listed["files"].items()},
        )
        signed = is_signed(
            SIGNED_AS + document.encode(), signature, bytes.fromhex(public_key)
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as wrong:
        raise _wrong(MANIFEST, "it is no manifest") from wrong
    if schema != SCHEMA:
        raise _wrong(MANIFEST, f"schema {schema!r} is not {SCHEMA}")
    if not signed:
        raise _wrong(MANIFEST, "its signature does not hold")
    if trusted and public_key != trusted:
        raise _wrong(
            MANIFEST, f"signed by {public_key[:16]}..., not by the key that is trusted"
        )
    return files, public_key


def _packed(evidence: Evidence) -> bytes:
    arrays = {f"sum_{name}": total for name, total in evidence.sums.items()}
    if (kept := evidence.residuals) is not None:
        law = f"{kept.family} {kept.sigma2}".encode()
        arrays |= {
            "residuals": kept.values,
            "law": np.frombuffer(law, np.uint8).astype(np.int64),
        }
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _unpacked(content: bytes) -> dict[str, Numbers]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            size = sum(one.file_size for one in packed.infolist())
        if size > MAX_ARRAYS:
            raise _wrong(ARRAYS, f"it holds more than {MAX_ARRAYS} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in opened.files}
    except InvalidInput:
        raise
    except UNREADABLE as wrong:
        raise _wrong(ARRAYS, "it is no file of arrays") from wrong
    for name, array in arrays.items():
        if array.dtype not in (np.int64, np.float64) or not np.isfinite(array).all():
            raise _wrong(
                f"{ARRAYS}: {name}", f"{array.dtype} with something that is no number"
            )
    return arrays


def _law(arrays: dict[str, Numbers]) -> tuple[str, str]:
    """The family and sigma^2 of the residuals, kept beside them as text."""
    law = arrays.pop("law", None)
    if law is None:
        return "", ""
    family, _, sigma2 = (
        bytes(law.astype(np.uint8)).decode(errors="replace").partition(" ")
    )
    return family, sigma2


def _content(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        raise _wrong(name, f"{path} is missing")
    if path.stat().st_size > MAX_FILE:
        raise _wrong(name, f"it is larger than {MAX_FILE} bytes")
    return path.read_bytes()


def _wrong(name: str, problem: str) -> InvalidInput:
    return InvalidInput(f"evidence {name}", problem, "ask for the whole bundle again")
