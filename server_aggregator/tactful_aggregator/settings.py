"""One aggregator in its folder: role, address, keys and the other aggregator."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import tomllib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal, TypeVar
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import TypeAdapter, ValidationError

from tactful.errors import InvalidInput
from tactful.protocol.address import require_protected
from tactful_aggregator import private_files

Document = TypeVar("Document")
Role = Literal["leader", "helper"]
STRICT: dict[str, object] = {"extra": "forbid", "strict": True}

SETTINGS_FILE, KEYS_FILE = "aggregator.toml", "keys.json"
# The pairing documents of this aggregator and of the other one.
PAIRING_FILE, OTHER_PAIRING_FILE = "card.json", "peer.json"
# The address of the operator's listener: a Unix socket, or a file with a loopback port.
SOCKET_FILE, PORT_FILE = "operator.sock", "operator.json"
DATABASE_FILE, REPORTS_FOLDER = "aggregator.db", "reports"
DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")

# Everything in the folder that contains secrets or people's reports.
PRIVATE_FILES = (
    SETTINGS_FILE,
    KEYS_FILE,
    PAIRING_FILE,
    OTHER_PAIRING_FILE,
    SOCKET_FILE,
    PORT_FILE,
    REPORTS_FOLDER,
    *(f"{DATABASE_FILE}{suffix}" for suffix in DATABASE_SUFFIXES),
)

# An empty or short token could be guessed.
CREDENTIAL_PATTERN = "[!-~]{16,}"
# Bearer tokens of keys.json, one for each purpose.
TOKENS = ("token", "admin_token", "collector_token")
# Keys of keys.json, 32 bytes each.
SECRETS = ("signing", "hpke", "collector", "verify")
SECRET_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class AggregatorSettings:
    """The operator's settings; `min_batch_floor` is the smallest batch ever released.

    `min_count_floor` is the floor for a count, a sum or a histogram of an operator's own
    task. `url` is the public base address. `database` is the URL of a PostgreSQL database, or
    empty for a SQLite file. `max_body` is the largest request in bytes.
    """

    role: Role
    url: str
    min_batch_floor: int = 1000
    min_count_floor: int = 100
    database: str = ""
    max_body: int = 64 << 20
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        if not _is_base_address(self.url):
            raise InvalidInput(
                "url", f"{self.url!r} is not a base address", "use https://host[:port]"
            )
        require_protected("url", self.url)
        for name in ("min_batch_floor", "min_count_floor", "max_body"):
            value = getattr(self, name)
            if value < 1:
                raise InvalidInput(
                    name,
                    f"{value} is below 1",
                    "use a positive integer, or remove the line to get the default",
                )


@dataclass(frozen=True, kw_only=True)
class AggregatorSecrets:
    """The secrets of one aggregator.

    They stay in its folder, except `verify` and a helper's `token`, which the pairing document
    contains.
    """

    signing: bytes = field(repr=False)
    hpke: bytes = field(repr=False)
    # Opens sums, if this aggregator is the leader.
    collector: bytes = field(repr=False)
    # This aggregator's part of the secret that proofs are verified with.
    verify: bytes = field(repr=False)
    # Authorizes the leader at this helper.
    token: str = field(repr=False)
    # Authorizes this aggregator's operator.
    admin_token: str = field(repr=False)
    # Authorizes collectors at this leader.
    collector_token: str = field(repr=False)

    @classmethod
    def fresh(cls) -> AggregatorSecrets:
        """Return new secrets from the operating system's random generator."""
        return cls(
            signing=secrets.token_bytes(SECRET_BYTES),
            hpke=secrets.token_bytes(SECRET_BYTES),
            collector=secrets.token_bytes(SECRET_BYTES),
            verify=secrets.token_bytes(SECRET_BYTES),
            **_fresh_tokens(),
        )

    @property
    def signer(self) -> Ed25519PrivateKey:
        """The key that signs tasks and releases."""
        return Ed25519PrivateKey.from_private_bytes(self.signing)

    @property
    def opener(self) -> X25519PrivateKey:
        """The first HPKE key that opens this aggregator's shares."""
        return X25519PrivateKey.from_private_bytes(self.hpke)

    @property
    def collecting(self) -> X25519PrivateKey:
        """The HPKE key that opens the sums of both aggregators."""
        return X25519PrivateKey.from_private_bytes(self.collector)


@dataclass(frozen=True, kw_only=True)
class PairingDocument:
    """The document that one operator gives the other: address, keys and credentials.

    Keys are in base64. A helper's `token` authorizes the leader; a leader receives no requests
    from the helper, so its document has no token. Both `verify` parts together would let a
    client forge proofs: keep the document secret.
    """

    role: Role
    url: str
    signing_key: str
    collector_key: str
    verify: str = field(repr=False)
    token: str = field(default="", repr=False)
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        fix = "ask the other operator for card.json again"
        if not _is_base_address(self.url):
            raise InvalidInput("url", f"{self.url!r} is not a base address", fix)
        require_protected("url", self.url)
        for name in ("signing_key", "collector_key"):
            if len(_base64_bytes(getattr(self, name))) != 32:
                raise InvalidInput(name, "not 32 bytes in base64", fix)
        if not re.fullmatch("[0-9a-f]{64}", self.verify):
            raise InvalidInput("verify", "not 32 bytes in hex", fix)
        if self.role == "leader" and self.token:
            raise InvalidInput(
                "token",
                "a leader's pairing document must not have one",
                "ask the leader's operator to upgrade, renew the tokens and send card.json",
            )
        if self.role == "helper" and not re.fullmatch(CREDENTIAL_PATTERN, self.token):
            raise InvalidInput(
                "token", "not at least 16 printable ASCII characters", fix
            )


@dataclass(frozen=True)
class Aggregator:
    """One aggregator in its folder; `other_pairing` is None until it is paired."""

    folder: Path
    settings: AggregatorSettings
    keys: AggregatorSecrets
    other_pairing: PairingDocument | None

    @property
    def database(self) -> Path | str:
        """The URL of the database server, or the path of the SQLite file."""
        return self.settings.database or self.folder / DATABASE_FILE

    @property
    def pairing_document(self) -> PairingDocument:
        """The document that the other operator needs to pair with this aggregator."""
        signing_key = self.keys.signer.public_key().public_bytes_raw()
        collector_key = self.keys.collecting.public_key().public_bytes_raw()
        return PairingDocument(
            role=self.settings.role,
            url=self.settings.url,
            signing_key=base64.b64encode(signing_key).decode(),
            collector_key=base64.b64encode(collector_key).decode(),
            verify=self.keys.verify.hex(),
            token=self.keys.token if self.settings.role == "helper" else "",
        )

    @property
    def other_aggregator(self) -> PairingDocument:
        """The pairing document of the other aggregator; raises InvalidInput without one."""
        if self.other_pairing is None:
            raise InvalidInput(
                "pairing",
                "this aggregator is not paired yet",
                "run: tactful-aggregator pair --dir DIR --card FILE",
            )
        return self.other_pairing

    def public_keys(self) -> tuple[bytes, bytes]:
        """Return the public signing keys of (leader, helper)."""
        leader, helper = self._pair
        leader_key = base64.b64decode(leader.signing_key)
        return leader_key, base64.b64decode(helper.signing_key)

    @property
    def verify_secret(self) -> bytes:
        """32 bytes known to both aggregators and to no client; neither chose them alone."""
        leader, helper = self._pair
        parts = bytes.fromhex(leader.verify) + bytes.fromhex(helper.verify)
        return hashlib.sha256(parts).digest()

    @property
    def collector_key(self) -> bytes:
        """The leader's public key, to which sums of trainings are sealed."""
        leader, _ = self._pair
        return base64.b64decode(leader.collector_key)

    @property
    def _pair(self) -> tuple[PairingDocument, PairingDocument]:
        own_pairing, other = self.pairing_document, self.other_aggregator
        return (
            (own_pairing, other)
            if own_pairing.role == "leader"
            else (other, own_pairing)
        )


def create(folder: Path, settings: AggregatorSettings) -> Aggregator:
    """Write settings, keys and pairing document of a new aggregator.

    Only the owner can read them, and existing keys are never overwritten. Raises InvalidInput
    if the folder has an aggregator or others can enter it.
    """
    if (folder / KEYS_FILE).exists():
        raise InvalidInput(
            "dir", f"{folder} already has an aggregator", "name an empty folder"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    private_files.require(folder, [])
    aggregator = Aggregator(folder, settings, AggregatorSecrets.fresh(), None)
    lines = [
        f"{name} = {json.dumps(value)}\n" for name, value in asdict(settings).items()
    ]
    write_private(folder / SETTINGS_FILE, "".join(lines))
    _write_secrets(aggregator)
    return aggregator


def renew_tokens(folder: Path) -> Aggregator:
    """Replace all tokens of an aggregator and its pairing document.

    Also works for the keys of an earlier version. A helper's operator must give the new
    pairing document to the leader's operator.
    """
    settings, stored = _read_files(folder)
    keys = _parse_secrets({**stored, **_fresh_tokens()})
    aggregator = Aggregator(folder, settings, keys, None)
    _write_secrets(aggregator)
    return aggregator


def _fresh_tokens() -> dict[str, str]:
    return {name: secrets.token_urlsafe(32) for name in TOKENS}


def _write_secrets(aggregator: Aggregator) -> None:
    keys = {name: getattr(aggregator.keys, name).hex() for name in SECRETS}
    tokens = {name: getattr(aggregator.keys, name) for name in TOKENS}
    write_private(aggregator.folder / KEYS_FILE, json.dumps({**keys, **tokens}))
    document = json.dumps(asdict(aggregator.pairing_document), indent=1)
    write_private(aggregator.folder / PAIRING_FILE, document)


def require_private(folder: Path) -> None:
    """Raise InvalidInput, with the command to fix it, if others can read the files."""
    private_files.require(folder, PRIVATE_FILES)


def pair(folder: Path, pairing_file: Path) -> Aggregator:
    """Store the pairing document of the other aggregator in `folder`."""
    aggregator = _load_unpaired(folder)
    document = _read_pairing_document(pairing_file)
    role = aggregator.settings.role
    if document.role == role:
        raise InvalidInput(
            "card",
            f"both aggregators have the role {role}",
            "pair a leader with a helper",
        )
    same_url = document.url == aggregator.settings.url
    same_key = document.signing_key == aggregator.pairing_document.signing_key
    if same_url or same_key:
        raise InvalidInput(
            "card",
            "both aggregators have the same address or signing key",
            "pair with the aggregator of a separate operator",
        )
    text = json.dumps(asdict(document), indent=1)
    write_private(folder / OTHER_PAIRING_FILE, text)
    return load(folder)


def load(folder: Path) -> Aggregator:
    """Return the aggregator in `folder`; raises InvalidInput, naming the file and field."""
    aggregator = _load_unpaired(folder)
    path = folder / OTHER_PAIRING_FILE
    if not path.exists():
        return aggregator
    return replace(aggregator, other_pairing=_read_pairing_document(path))


def _load_unpaired(folder: Path) -> Aggregator:
    # Without the other pairing document, which an earlier version may have written.
    settings, stored = _read_files(folder)
    return Aggregator(folder, settings, _parse_secrets(stored), None)


def _read_files(folder: Path) -> tuple[AggregatorSettings, dict[str, str]]:
    try:
        document = tomllib.loads((folder / SETTINGS_FILE).read_text())
        stored = json.loads((folder / KEYS_FILE).read_text())
    except OSError as error:
        raise InvalidInput(
            "dir",
            f"{folder} has no aggregator",
            "create one with: tactful-aggregator init --dir DIR ...",
        ) from error
    except ValueError as error:
        raise InvalidInput(
            "dir",
            f"a file in {folder} is damaged ({error})",
            "restore the folder from a backup",
        ) from error
    text = json.dumps(document, default=str)
    return _parse(AggregatorSettings, text, SETTINGS_FILE), stored


def _is_base_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    has_extras = parts.query or parts.fragment or parts.username or url.endswith("/")
    return has_host and not has_extras and parts.scheme in ("http", "https")


def _base64_bytes(text: str) -> bytes:
    """Decode base64; return no bytes if `text` is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _parse_secrets(stored: dict[str, str]) -> AggregatorSecrets:
    try:
        keys = {name: bytes.fromhex(stored[name]) for name in SECRETS}
        if any(len(key) != SECRET_BYTES for key in keys.values()):
            raise ValueError
        return AggregatorSecrets(
            signing=keys["signing"],
            hpke=keys["hpke"],
            collector=keys["collector"],
            verify=keys["verify"],
            **_parse_tokens(stored),
        )
    except InvalidInput:
        raise
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidInput(
            KEYS_FILE,
            "keys or tokens are missing or damaged",
            "restore it from a backup",
        ) from error


def _parse_tokens(stored: dict[str, str]) -> dict[str, str]:
    is_incomplete = any(name not in stored for name in TOKENS[1:])
    if is_incomplete and "token" in stored:
        raise InvalidInput(
            KEYS_FILE,
            "written by an earlier version, with one token for everything",
            "run: tactful-aggregator renew-tokens --dir DIR, then pair again",
        )
    tokens = {name: stored[name] for name in TOKENS}
    are_valid = all(
        re.fullmatch(CREDENTIAL_PATTERN, token) for token in tokens.values()
    )
    # Equal tokens would give one party the rights of another.
    are_distinct = len(set(tokens.values())) == len(TOKENS)
    if not (are_valid and are_distinct):
        raise ValueError
    return tokens


def _read_pairing_document(path: Path) -> PairingDocument:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            "card",
            f"{path} cannot be read",
            "name the file card.json of the other operator",
        ) from error
    return _parse(PairingDocument, text, path.name)


def _parse(kind: type[Document], text: str, file_name: str) -> Document:
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise invalid_document(f"{file_name}: ", error) from error


def invalid_document(prefix: str, error: ValidationError) -> InvalidInput:
    """Return the first problem of an operator's document, named by its field."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InvalidInput):
        return InvalidInput(f"{prefix}{cause.field}", cause.problem, cause.fix)
    location = ".".join(str(part) for part in first["loc"]) or "document"
    return InvalidInput(
        f"{prefix}{location}", first["msg"], "correct this field in the file"
    )


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read.

    The text is written to a temporary file first, so that a full disk leaves the former file
    unchanged.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = private_files.create(temporary)
    try:
        with open(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError:
        temporary.unlink()
        raise
