"""Evidence for an auditor: a folder of documents with a signed list of their hashes.

It contains nothing personal. If something is missing, a check is NOT-RUN, never passed.
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
MAX_FILE, MAX_ARRAYS = 256 << 20, 1 << 30  # bytes of a file, and of unpacked arrays
# Errors of numpy and zipfile for files that are not archives of arrays.
READ_ERRORS = (
    ValueError,
    OSError,
    KeyError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
STRICT: dict[str, object] = {"extra": "forbid", "strict": True}
# Released values must be integers; floats can be read, so that a check refutes them.
Numbers = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class OperatorClaim:
    """The operator's claim that all releases of `model` are (epsilon, delta)-private.

    - `rho`: the exact cost ("num/den").
    - `eligible`: the number of devices that could take part.
    - `sampling`, `scheduler`: how a batch was chosen, and by which code.
    - `hidden_from`: who does not see which devices took part.
    - `placement`: who adds the noise.
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
    """The public Ed25519 keys of both aggregators, in base64, as the operators gave them."""

    leader: str
    helper: str
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def decoded(self) -> tuple[bytes, bytes]:
        """Return the keys of leader and helper, 32 bytes each."""
        try:
            leader = base64.b64decode(self.leader, validate=True)
            return leader, base64.b64decode(self.helper, validate=True)
        except ValueError as error:
            raise InvalidInput(
                "evidence.keys",
                "a key is not base64",
                "copy them from the output of `tactful-aggregator init`",
            ) from error


@dataclass(frozen=True, kw_only=True)
class SeenCheckpoint:
    """A signed checkpoint of the log, and who saw it."""

    seen_by: str
    checkpoint: str
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """The output of the device's own code for one hostile vector.

    Noise is off and coins are fixed. `squares` is the sum of squares of the integers it
    would send, `distance2` the squared distance to what it sends for an empty history,
    `calls` the functions that it called.
    """

    name: str
    refused: bool
    squares: int
    distance2: int
    calls: tuple[str, ...]
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT


@dataclass(frozen=True, kw_only=True)
class NeighbourReplay:
    """All neighbours of one task, whose document is JSON."""

    task: str
    neighbours: tuple[Neighbour, ...]
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """Noise that a staging pair drew, shape (batches, sources, length).

    The known sum is subtracted. Sources are the two aggregators, or some devices.
    """

    family: str
    sigma2: str
    values: Numbers


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """Canaries, each sent through the real client and pair if its coin is 1.

    `commitment` is the SHA-256 of `opened`, from which the coins are drawn; it was fixed
    before anything was sent. `scores` are the parts of each canary in the released sum;
    `rho` is that of the batch.
    """

    rho: str
    delta: float
    commitment: str
    opened: str
    scores: tuple[float, ...]
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def coins(self) -> NDArray[np.float64]:
        """Return 1 for each canary that was sent, and 0 for the others."""
        byte_count = len(self.scores) // 8 + 1
        stream = hashlib.shake_128(bytes.fromhex(self.opened)).digest(byte_count)
        bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8))
        return bits[: len(self.scores)].astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Upload:
    """One report as a device sent it, with the name of the device's history.

    `body` is in base64. For devices made for the audit, `shares` are its two decrypted
    shares (base64), and `measurement` the integers that they sum to. `task` is the
    document of its task.
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
    """The answers of a running pair to requests that it must refuse."""

    check: str
    tried: str
    answers: tuple[str, ...]
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT


@dataclass(frozen=True, kw_only=True)
class Documents:
    """All evidence except arrays; a missing part is an empty tuple, or None.

    `tasks`, `releases`, `log`, `records` and `ledgers` are the exact texts that were
    published or exported.
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
    """Documents, noisy `sums` by their SHA-256, and noise `residuals`.

    `made_by` is the public key (hex) of the signature, empty if there is none.
    """

    documents: Documents = field(default_factory=Documents)
    sums: Mapping[str, Numbers] = field(default_factory=dict)
    residuals: Residuals | None = None
    made_by: str = ""


def write(folder: Path, evidence: Evidence, secret: bytes) -> None:
    """Write evidence to `folder`, signed with an Ed25519 key of 32 `secret` bytes."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from pydantic import TypeAdapter

    signer = Ed25519PrivateKey.from_private_bytes(secret)
    documents = TypeAdapter(Documents).dump_json(evidence.documents, indent=1)
    contents = {DOCUMENTS: documents, ARRAYS: _packed(evidence)}
    hashes = {
        name: hashlib.sha256(content).hexdigest() for name, content in contents.items()
    }
    document = canonical({"schema": SCHEMA, "files": hashes})
    signature = signer.sign(SIGNED_AS + document)
    manifest = {
        "document": document.decode(),
        "public_key": signer.public_key().public_bytes_raw().hex(),
        "signature": base64.b64encode(signature).decode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / MANIFEST).write_bytes(canonical(manifest))


def read(folder: Path, trusted: str = "") -> Evidence:
    """Return the evidence in `folder` if all its bytes are as they were signed.

    `trusted` is the public key (hex) of the expected signature, empty for any. Raise
    InvalidInput for a file that is missing, changed, or of another form.
    """
    hashes, public_key = _manifest(_content(folder, MANIFEST), trusted)
    contents = {name: _content(folder, name) for name in (DOCUMENTS, ARRAYS)}
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != hashes.get(name):
            raise _invalid(name, "it differs from the signed hash")
    arrays = _unpacked(contents[ARRAYS])
    family, sigma2 = _law(arrays)
    values = arrays.pop("residuals", None)
    residuals = None
    if values is not None:
        residuals = Residuals(family=family, sigma2=sigma2, values=values)
    return Evidence(
        documents=parse(contents[DOCUMENTS]),
        sums={name.removeprefix("sum_"): total for name, total in arrays.items()},
        residuals=residuals,
        made_by=public_key,
    )


def parse(content: bytes) -> Documents:
    """Return the documents in `content`; raise InvalidInput for a wrong field."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Documents).validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        field_path = ".".join(str(part) for part in first["loc"]) or "document"
        raise _invalid(f"{DOCUMENTS}: {field_path}", first["msg"]) from error


def _manifest(content: bytes, trusted: str) -> tuple[Mapping[str, str], str]:
    try:
        manifest = json.loads(content)
        document, public_key = str(manifest["document"]), str(manifest["public_key"])
        signature = base64.b64decode(str(manifest["signature"]))
        fields = json.loads(document)
        schema = fields["schema"]
        files = {str(name): str(sha256) for name, sha256 in fields["files"].items()}
        message = SIGNED_AS + document.encode()
        has_signature = is_signed(message, signature, bytes.fromhex(public_key))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _invalid(MANIFEST, "it is not a manifest") from error
    if schema != SCHEMA:
        raise _invalid(MANIFEST, f"schema {schema!r} is not {SCHEMA}")
    if not has_signature:
        raise _invalid(MANIFEST, "its signature is wrong")
    if trusted and public_key != trusted:
        raise _invalid(
            MANIFEST, f"it is signed by {public_key[:16]}..., not by the trusted key"
        )
    return files, public_key


def _packed(evidence: Evidence) -> bytes:
    arrays = {f"sum_{name}": total for name, total in evidence.sums.items()}
    residuals = evidence.residuals
    if residuals is not None:
        law = f"{residuals.family} {residuals.sigma2}".encode()
        arrays["residuals"] = residuals.values
        arrays["law"] = np.frombuffer(law, np.uint8).astype(np.int64)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _unpacked(content: bytes) -> dict[str, Numbers]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            size = sum(member.file_size for member in packed.infolist())
        if size > MAX_ARRAYS:
            raise _invalid(ARRAYS, f"it has more than {MAX_ARRAYS} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in opened.files}
    except InvalidInput:
        raise
    except READ_ERRORS as error:
        raise _invalid(ARRAYS, "it is not a file of arrays") from error
    for name, array in arrays.items():
        if array.dtype not in (np.int64, np.float64) or not np.isfinite(array).all():
            raise _invalid(
                f"{ARRAYS}: {name}", f"{array.dtype} is not a type of finite numbers"
            )
    return arrays


def _law(arrays: dict[str, Numbers]) -> tuple[str, str]:
    """Return family and sigma^2 of the residuals, which are stored as text."""
    law = arrays.pop("law", None)
    if law is None:
        return "", ""
    text = bytes(law.astype(np.uint8)).decode(errors="replace")
    family, _, sigma2 = text.partition(" ")
    return family, sigma2


def _content(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        raise _invalid(name, f"{path} is missing")
    if path.stat().st_size > MAX_FILE:
        raise _invalid(name, f"it is larger than {MAX_FILE} bytes")
    return path.read_bytes()


def _invalid(name: str, problem: str) -> InvalidInput:
    return InvalidInput(f"evidence {name}", problem, "ask for the whole bundle again")
