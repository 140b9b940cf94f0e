"""What one half is: its role, address, keys, and the other half it works with."""

from __future__ import annotations

import base64
import json
import os
import secrets
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeVar
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import TypeAdapter, ValidationError

from tactful.errors import InvalidInput

T = TypeVar("T")
Role = Literal["leader", "helper"]
STRICT: dict[str, object] = {"extra": "forbid", "strict": True}
SETTINGS_FILE, KEYS_FILE, CARD_FILE, PEER_FILE = (
    "aggregator.toml",
    "keys.json",
    "card.json",
    "peer.json",
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The operator's choices; `min_batch_floor` is the smallest batch this half ever releases.

    `url` is the public base address, `max_body` the largest request in bytes.
    """

    role: Role
    url: str
    min_batch_floor: int = 1000
    max_body: int = 64 << 20
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        if not _is_base_address(self.url):
            raise InvalidInput("url", f"{self.url!r} is no base address", "use https://host[:port]")
        if self.min_batch_floor < 1:
            raise InvalidInput("min_batch_floor", "it is below 1", "use 1000 if unsure")


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The secrets of one half; they leave its folder never, its token only on its card."""

    signing: bytes = field(repr=False)
    hpke: bytes = field(repr=False)
    token: str = field(repr=False)  # what the other half, or the operator, must show

    @classmethod
    def fresh(cls) -> Keys:
        """New keys from the operating system's randomness."""
        return cls(
            signing=secrets.token_bytes(32),
            hpke=secrets.token_bytes(32),
            token=secrets.token_urlsafe(32),
        )

    @property
    def signer(self) -> Ed25519PrivateKey:
        """The key that signs tasks and releases."""
        return Ed25519PrivateKey.from_private_bytes(self.signing)

    @property
    def opener(self) -> X25519PrivateKey:
        """The key that opens this half's shares."""
        return X25519PrivateKey.from_private_bytes(self.hpke)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What one half hands the other: address, public signing key (base64), and a token to show.

    The helper's token lets the leader ask for sums: hand the card over as a secret.
    """

    role: Role
    url: str
    signing_key: str
    token: str = field(repr=False)
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT


@dataclass(frozen=True)
class Half:
    """One half as it stands in its folder; `peer` is None until the halves are paired."""

    folder: Path
    settings: Settings
    keys: Keys
    peer: Card | None

    @property
    def database(self) -> Path:
        """Where this half keeps its sums."""
        return self.folder / "aggregator.db"

    @property
    def card(self) -> Card:
        """This half's card."""
        public = self.keys.signer.public_key().public_bytes_raw()
        return Card(
            role=self.settings.role,
            url=self.settings.url,
            signing_key=base64.b64encode(public).decode(),
            token=self.keys.token,
        )

    @property
    def paired(self) -> Card:
        """The other half's card; raises InvalidInput before the halves are paired."""
        if self.peer is None:
            raise InvalidInput(
                "peer", "this half knows no other", "tactful-aggregator pair --dir DIR --card FILE"
            )
        return self.peer

    def public_keys(self) -> tuple[bytes, bytes]:
        """The (leader, helper) public signing keys."""
        mine, theirs = self.card, self.paired
        leader, helper = (mine, theirs) if mine.role == "leader" else (theirs, mine)
        return base64.b64decode(leader.signing_key), base64.b64decode(helper.signing_key)


def create(folder: Path, settings: Settings) -> Half:
    """Write settings, keys (0600) and card of a new half; an existing one is never overwritten."""
    if (folder / KEYS_FILE).exists():
        raise InvalidInput("dir", f"{folder} holds a half already", "name an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    half = Half(folder, settings, Keys.fresh(), None)
    lines = (f"{name} = {json.dumps(value)}\n" for name, value in asdict(settings).items())
    (folder / SETTINGS_FILE).write_text("".join(lines))
    secret = {
        "signing": half.keys.signing.hex(),
        "hpke": half.keys.hpke.hex(),
        "token": half.keys.token,
    }
    _write_private(folder / KEYS_FILE, json.dumps(secret))
    _write_private(folder / CARD_FILE, json.dumps(asdict(half.card), indent=1))
    return half


def pair(folder: Path, card_file: Path) -> Half:
    """Tell the half in `folder` who the other one is."""
    half, card = load(folder), _card(card_file)
    if card.role == half.settings.role:
        raise InvalidInput("card", f"both are {card.role}", "pair a leader with a helper")
    if card.url == half.settings.url or card.signing_key == half.card.signing_key:
        raise InvalidInput("card", "both halves are the same", "use two separate operators")
    _write_private(folder / PEER_FILE, json.dumps(asdict(card), indent=1))
    return load(folder)


def load(folder: Path) -> Half:
    """The half in `folder`; raises InvalidInput naming the file and field that is wrong."""
    try:
        document = tomllib.loads((folder / SETTINGS_FILE).read_text())
        secret = json.loads((folder / KEYS_FILE).read_text())
    except OSError as absent:
        raise InvalidInput(
            "dir", f"{folder} holds no aggregator", "tactful-aggregator init --dir DIR ..."
        ) from absent
    except ValueError as wrong:
        raise InvalidInput(
            "dir", f"a file in {folder} is damaged ({wrong})", "restore it"
        ) from wrong
    settings = _checked(Settings, json.dumps(document, default=str), SETTINGS_FILE)
    peer = _card(folder / PEER_FILE) if (folder / PEER_FILE).exists() else None
    return Half(folder, settings, _keys(secret), peer)


def _is_base_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return named and parts.scheme in ("http", "https") and not url.endswith("/")


def _keys(secret: dict[str, str]) -> Keys:
    try:
        signing, hpke = bytes.fromhex(secret["signing"]), bytes.fromhex(secret["hpke"])
        if len(signing) != 32 or len(hpke) != 32:
            raise ValueError
        return Keys(signing=signing, hpke=hpke, token=secret["token"])
    except (KeyError, ValueError, TypeError) as wrong:
        raise InvalidInput(KEYS_FILE, "it holds no keys", "restore it from a backup") from wrong


def _card(path: Path) -> Card:
    try:
        text = path.read_text()
    except OSError as absent:
        raise InvalidInput("card", f"{path} cannot be read", "ask for card.json") from absent
    return _checked(Card, text, path.name)


def _checked(kind: type[T], text: str, name: str) -> T:
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise InvalidInput(f"{name}: {where}", first["msg"], "correct the file") from wrong


def _write_private(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "w") as file:
        file.write(text)
