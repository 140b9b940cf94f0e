"""What one half is: its role, address, keys, and the other half it works with."""

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

T = TypeVar("T")
Role = Literal["leader", "helper"]
STRICT: dict[str, object] = {"extra": "forbid", "strict": True}
SETTINGS_FILE, KEYS_FILE, CARD_FILE, PEER_FILE = (
    "aggregator.toml",
    "keys.json",
    "card.json",
    "peer.json",
)
SOCKET_FILE, PORT_FILE = (
    "operator.sock",
    "operator.json",
)  # where the operator's requests come in

DATABASE_FILE, REPORTS_FOLDER = "aggregator.db", "reports"
# everything in a half's folder that holds secrets, or what people sent
PRIVATE = (
    *(
        SETTINGS_FILE,
        KEYS_FILE,
        CARD_FILE,
        PEER_FILE,
        SOCKET_FILE,
        PORT_FILE,
        REPORTS_FOLDER,
    ),
    *(f"{DATABASE_FILE}{suffix}" for suffix in ("", "-wal", "-shm", "-journal")),
)

SHOWABLE = "[!-~]{16,}"  # an empty or a short one would let anybody in
TOKENS = (
    "token",
    "admin_token",
    "collector_token",
)  # each lets in who shows it, for one purpose
SECRETS = (
    "signing",
    "hpke",
    "collector",
    "verify",
)  # 32 bytes each, in the file of keys


@dataclass(frozen=True, kw_only=True)
class AggregatorSettings:
    """The operator's choices; `min_batch_floor` is the smallest batch this half ever releases.

    `min_count_floor` is the same for a count, a sum or a histogram of an operator's own task. `url`
    is the public base address, `database` the URL of a PostgreSQL database in place of a file,
    `max_body` the largest request in bytes.
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
                "url", f"{self.url!r} is no base address", "use https://host[:port]"
            )
        require_protected("url", self.url)
        for name in ("min_batch_floor", "min_count_floor", "max_body"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, "it is below 1", "leave it out if unsure")


@dataclass(frozen=True, kw_only=True)
class AggregatorSecrets:
    """The secrets of one half; they leave its folder never, a helper's `token` only on its card."""

    signing: bytes = field(repr=False)
    hpke: bytes = field(repr=False)
    collector: bytes = field(repr=False)  # opens sums, if this half leads
    verify: bytes = field(
        repr=False
    )  # this half's part of what proofs are checked with
    token: str = field(repr=False)  # what the leader shows to this helper
    admin_token: str = field(repr=False)  # what this half's operator shows
    collector_token: str = field(repr=False)  # what collectors show to this leader

    @classmethod
    def fresh(cls) -> AggregatorSecrets:
        """New keys from the operating system's randomness."""
        return cls(
            signing=secrets.token_bytes(32),
            hpke=secrets.token_bytes(32),
            collector=secrets.token_bytes(32),
            verify=secrets.token_bytes(32),
            **{name: secrets.token_urlsafe(32) for name in TOKENS},
        )

    @property
    def signer(self) -> Ed25519PrivateKey:
        """The key that signs tasks and releases."""
        return Ed25519PrivateKey.from_private_bytes(self.signing)

    @property
    def opener(self) -> X25519PrivateKey:
        """The first key that opens this half's shares."""
        return X25519PrivateKey.from_private_bytes(self.hpke)

    @property
    def collecting(self) -> X25519PrivateKey:
        """The key that opens both halves' sums."""
        return X25519PrivateKey.from_private_bytes(self.collector)


@dataclass(frozen=True, kw_only=True)
class PairingDocument:
    """What one half hands the other: address, public keys (base64), and what is secret.

    The helper's `token` lets the leader ask for sums; a leader is asked for nothing, so its card
    holds none. Both `verify` parts together let a client cheat: hand the card over as a secret.
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
            raise InvalidInput("url", f"{self.url!r} is no base address", fix)
        require_protected("url", self.url)
        for name in ("signing_key", "collector_key"):
            if len(_decoded(getattr(self, name))) != 32:
                raise InvalidInput(name, "it is not 32 bytes in base64", fix)
        if not re.fullmatch("[0-9a-f]{64}", self.verify):
            raise InvalidInput("verify", "it is not 32 bytes in hex", fix)
        if self.role == "leader" and self.token:
            raise InvalidInput(
                "token", "a leader's card needs none", f"{fix}, made anew"
            )
        if self.role == "helper" and not re.fullmatch(SHOWABLE, self.token):
            raise InvalidInput(
                "token", "it is too short, or not of printable characters", fix
            )


@dataclass(frozen=True)
class Aggregator:
    """One half as it stands in its folder; `peer` is None until the halves are paired."""

    folder: Path
    settings: AggregatorSettings
    keys: AggregatorSecrets
    peer: PairingDocument | None

    @property
    def database(self) -> Path | str:
        """Where this half keeps its sums: a file, unless a database server was chosen."""
        return self.settings.database or self.folder / DATABASE_FILE

    @property
    def card(self) -> PairingDocument:
        """This half's card."""
        signing, collector = (
            self.keys.signer.public_key(),
            self.keys.collecting.public_key(),
        )
        return PairingDocument(
            role=self.settings.role,
            url=self.settings.url,
            signing_key=base64.b64encode(signing.public_bytes_raw()).decode(),
            collector_key=base64.b64encode(collector.public_bytes_raw()).decode(),
            verify=self.keys.verify.hex(),
            token=self.keys.token if self.settings.role == "helper" else "",
        )

    @property
    def paired(self) -> PairingDocument:
        """The other half's card; raises InvalidInput before the halves are paired."""
        if self.peer is None:
            raise InvalidInput(
                "peer",
                "this half knows no other",
                "tactful-aggregator pair --dir DIR --card FILE",
            )
        return self.peer

    def public_keys(self) -> tuple[bytes, bytes]:
        """The (leader, helper) public signing keys."""
        leader, helper = self._cards
        return base64.b64decode(leader.signing_key), base64.b64decode(
            helper.signing_key
        )

    @property
    def verify_secret(self) -> bytes:
        """What both halves know and no client: 32 bytes that neither of them chose alone."""
        leader, helper = self._cards
        return hashlib.sha256(
            bytes.fromhex(leader.verify) + bytes.fromhex(helper.verify)
        ).digest()

    @property
    def collector_key(self) -> bytes:
        """What sums of trainings are sealed to: the leader's public key."""
        return base64.b64decode(self._cards[0].collector_key)

    @property
    def _cards(self) -> tuple[PairingDocument, PairingDocument]:
        mine, theirs = self.card, self.paired
        return (mine, theirs) if mine.role == "leader" else (theirs, mine)


def create(folder: Path, settings: AggregatorSettings) -> Aggregator:
    """Write settings, keys and card of a new half; an existing one is never overwritten.

    Only the owner can read them. Raises InvalidInput if others can enter the folder.
    """
    if (folder / KEYS_FILE).exists():
        raise InvalidInput(
            "dir", f"{folder} holds a half already", "name an empty folder"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    private_files.require(folder, [])
    half = Aggregator(folder, settings, AggregatorSecrets.fresh(), None)
    lines = (
        f"{name} = {json.dumps(value)}\n" for name, value in asdict(settings).items()
    )
    write_private(folder / SETTINGS_FILE, "".join(lines))
    _write_secrets(half)
    return half


def renew_tokens(folder: Path) -> Aggregator:
    """Replace all tokens of the half in `folder`, also those of an earlier version, and its card.

    A helper's new card must be handed to the leader.
    """
    settings, secret = _files(folder)
    fresh = {name: secrets.token_urlsafe(32) for name in TOKENS}
    half = Aggregator(folder, settings, _keys({**secret, **fresh}), None)
    _write_secrets(half)
    return half


def _write_secrets(half: Aggregator) -> None:
    secret = {name: getattr(half.keys, name).hex() for name in SECRETS}
    tokens = {name: getattr(half.keys, name) for name in TOKENS}
    write_private(half.folder / KEYS_FILE, json.dumps({**secret, **tokens}))
    write_private(half.folder / CARD_FILE, json.dumps(asdict(half.card), indent=1))


def require_private(folder: Path) -> None:
    """Raise InvalidInput naming every file of the half that others can read, and the fix."""
    private_files.require(folder, PRIVATE)


def pair(folder: Path, card_file: Path) -> Aggregator:
    """Tell the half in `folder` who the other one is."""
    half, card = _unpaired(folder), _card(card_file)
    if card.role == half.settings.role:
        raise InvalidInput(
            "card", f"both are {card.role}", "pair a leader with a helper"
        )
    if card.url == half.settings.url or card.signing_key == half.card.signing_key:
        raise InvalidInput(
            "card", "both halves are the same", "use two separate operators"
        )
    write_private(folder / PEER_FILE, json.dumps(asdict(card), indent=1))
    return load(folder)


def load(folder: Path) -> Aggregator:
    """The half in `folder`; raises InvalidInput naming the file and field that is wrong."""
    half = _unpaired(folder)
    peer = folder / PEER_FILE
    return replace(half, peer=_card(peer)) if peer.exists() else half


def _unpaired(folder: Path) -> Aggregator:
    """The half without what it knows of the other one, which may be of an earlier version."""
    settings, secret = _files(folder)
    return Aggregator(folder, settings, _keys(secret), None)


def _files(folder: Path) -> tuple[AggregatorSettings, dict[str, str]]:
    try:
        document = tomllib.loads((folder / SETTINGS_FILE).read_text())
        secret = json.loads((folder / KEYS_FILE).read_text())
    except OSError as absent:
        raise InvalidInput(
            "dir",
            f"{folder} holds no aggregator",
            "tactful-aggregator init --dir DIR ...",
        ) from absent
    except ValueError as wrong:
        raise InvalidInput(
            "dir", f"a file in {folder} is damaged ({wrong})", "restore it"
        ) from wrong
    settings = _checked(
        AggregatorSettings, json.dumps(document, default=str), SETTINGS_FILE
    )
    return settings, secret


def _is_base_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    bare = not (parts.query or parts.fragment or parts.username or url.endswith("/"))
    return named and bare and parts.scheme in ("http", "https")


def _decoded(text: str) -> bytes:
    """Base64, empty if it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _keys(secret: dict[str, str]) -> AggregatorSecrets:
    try:
        parts = {name: bytes.fromhex(secret[name]) for name in SECRETS}
        whole = all(len(part) == 32 for part in parts.values())
        if not whole:
            raise ValueError
        tokens = _tokens(secret)
        return AggregatorSecrets(
            signing=parts["signing"],
            hpke=parts["hpke"],
            collector=parts["collector"],
            verify=parts["verify"],
            **tokens,
        )
    except InvalidInput:
        raise
    except (KeyError, ValueError, TypeError) as wrong:
        raise InvalidInput(
            KEYS_FILE, "it holds no keys", "restore it from a backup"
        ) from wrong


def _tokens(secret: dict[str, str]) -> dict[str, str]:
    if any(name not in secret for name in TOKENS[1:]) and "token" in secret:
        fix = "tactful-aggregator renew-tokens --dir DIR, and pair again"
        raise InvalidInput(
            KEYS_FILE, "it is of an earlier version, with one token for all", fix
        )
    tokens = {name: secret[name] for name in TOKENS}
    showable = all(re.fullmatch(SHOWABLE, token) for token in tokens.values())
    if not showable or len(set(tokens.values())) < len(TOKENS):
        raise ValueError
    return tokens


def _card(path: Path) -> PairingDocument:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as absent:
        raise InvalidInput(
            "card", f"{path} cannot be read", "ask for card.json"
        ) from absent
    return _checked(PairingDocument, text, path.name)


def _checked(kind: type[T], text: str, name: str) -> T:
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as wrong:
        raise refused(f"{name}: ", wrong) from wrong


def refused(where: str, wrong: ValidationError) -> InvalidInput:
    """The first thing wrong with an operator's document, by the field that it is about."""
    first = wrong.errors()[0]
    found = first.get("ctx", {}).get("error")
    if isinstance(found, InvalidInput):
        return InvalidInput(f"{where}{found.field}", found.problem, found.fix)
    place = ".".join(str(part) for part in first["loc"]) or "document"
    return InvalidInput(f"{where}{place}", first["msg"], "correct it")


def write_private(path: Path, text: str) -> None:
    """All of it or, on a full disk, what was there before; for the owner's eyes."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = private_files.create(beside)
    try:
        with open(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
        beside.replace(path)
    except OSError:
        beside.unlink()
        raise
