"""What the app decides once: where the vault lies, how strong the knobs are, with whom to share."""

from __future__ import annotations

import base64
import binascii
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from tactful.device.wishes import BrandRules, Wishes
from tactful.errors import InvalidInput

STRICT: dict[str, object] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, kw_only=True)
class Aggregators:
    """The pair that sums contributions to `model`: addresses, Ed25519 public keys (base64).

    `placement` says whose noise the app promises to its people (docs/privacy.md): each half's, the
    devices' in shares, or `local`, all of it by each device, where one operator runs both halves.
    A task with another is refused. `publisher` is where signed tasks and models are found, None for
    the leader: a foreign aggregator (docs/operating.md) knows neither, and signs nothing.
    """

    model: str
    leader: str
    helper: str
    leader_key: str
    helper_key: str
    placement: Literal["aggregator", "devices", "local"] = "aggregator"
    publisher: str | None = None

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        _require(
            bool(re.fullmatch(r"[a-z0-9-]{1,64}", self.model)),
            "aggregators.model",
            f"{self.model!r} is not a model name",
            "use 1 to 64 of a-z, 0-9 and -",
        )
        for name in ("leader", "helper", "publisher"):
            url = getattr(self, name)
            if url is None:
                continue
            fix = "use http:// or https:// and a host"
            _require(
                bool(re.match(r"https?://[^/]+", url)),
                f"aggregators.{name}",
                f"{url!r} is no URL",
                fix,
            )
        for name in ("leader_key", "helper_key"):
            _public_key(f"aggregators.{name}", getattr(self, name))
        _require(
            self.leader != self.helper and self.leader_key != self.helper_key,
            "aggregators.helper",
            "leader and helper are the same",
            "name two separate operators; one alone gives no separation",
        )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One app's choices; every default is the private one.

    `path`: the vault's file, None for memory only. `caps`: a rules document (see docs/caps.md),
    None for the default rules. `balance`: 0 is the standard list, 1 the personal one. `diversity`:
    0 is relevance alone, 1 variety alone. `aggregators`: None shares nothing.
    `lifetime_epsilon` (at `delta`): the most this device may ever spend; 0 shares nothing.
    `purpose_epsilon`: the most of it that one purpose may spend, by name; None limits none.
    `trust_days`: how long a device waits before it contributes, where no anchor proves that its
    ledger is whole (docs/privacy.md).
    `min_batch_size`: the smallest crowd this device joins or accepts a model from.
    `on_state_loss`: what a lost or damaged vault counts as, `half` of each limit or all of it
    (`closed`), for a day; lifetime limits until erased. `policy_version`: of the text that consent
    is asked with; a new one ends what was granted. `refresh_hours`: how often to look for a new
    model (`refresh_due` says when; nothing is fetched unasked).
    `wishes`, `brand`: what every list should hold (see docs/recommendation.md).
    """

    path: str | None
    caps: dict[str, object] | None = None
    balance: float = 0.6
    diversity: float = 0.1
    aggregators: Aggregators | None = None
    lifetime_epsilon: float = 0.0
    delta: float = 1e-6
    purpose_epsilon: dict[str, float] | None = None
    trust_days: int = 7
    min_batch_size: int = 1000
    policy_version: str = "1"
    refresh_hours: float = 24.0
    on_state_loss: Literal["half", "closed"] = "half"
    wishes: Wishes = field(default_factory=Wishes)
    brand: BrandRules = field(default_factory=BrandRules)

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        for name in ("balance", "diversity"):
            value = getattr(self, name)
            _require(
                0 <= value <= 1, f"settings.{name}", f"{value!r} is out of range", "use 0 to 1"
            )
        _require(
            math.isfinite(self.lifetime_epsilon) and self.lifetime_epsilon >= 0,
            "settings.lifetime_epsilon",
            f"{self.lifetime_epsilon!r} is no budget",
            "use 0 (share nothing) or a positive number",
        )
        for purpose, most in (self.purpose_epsilon or {}).items():
            _require(
                math.isfinite(most) and most >= 0,
                f"settings.purpose_epsilon.{purpose}",
                f"{most!r} is no budget",
                "use 0 (nothing) or a positive number",
            )
        _require(
            self.trust_days >= 0,
            "settings.trust_days",
            f"{self.trust_days!r} is no waiting time",
            "use whole days, 7 if unsure",
        )
        _require(
            self.on_state_loss in ("half", "closed"),
            "settings.on_state_loss",
            f"{self.on_state_loss!r} is not known",
            "use half or closed",
        )
        _require(
            math.isfinite(self.refresh_hours) and self.refresh_hours > 0,
            "settings.refresh_hours",
            f"{self.refresh_hours!r} is no length",
            "use a number above 0, 24 if unsure",
        )
        _require(
            0 < self.delta < 1, "settings.delta", f"{self.delta!r} is out of range", "try 1e-6"
        )
        _require(
            self.min_batch_size >= 1,
            "settings.min_batch_size",
            f"{self.min_batch_size!r} is no crowd",
            "use a whole number, 1000 if unsure",
        )

    @classmethod
    def from_file(cls, path: str | Path) -> Settings:
        """Read a TOML file; errors name the field and the fix."""
        import json
        import tomllib

        from pydantic import TypeAdapter, ValidationError

        try:
            document = tomllib.loads(Path(path).read_text())
            return TypeAdapter(cls).validate_json(
                json.dumps({"path": None, **document}, default=str)
            )
        except OSError as absent:
            raise InvalidInput("settings", f"{path} cannot be read", "name a TOML file") from absent
        except tomllib.TOMLDecodeError as wrong:
            raise InvalidInput("settings", str(wrong), "correct the file") from wrong
        except ValidationError as wrong:
            first = wrong.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise InvalidInput(f"settings: {where}", first["msg"], "correct the file") from wrong


def _public_key(name: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    _require(
        len(key) == 32, name, "not 32 bytes of base64", "copy it from `tactful-aggregator init`"
    )
    return key


def _require(holds: bool, name: str, problem: str, fix: str) -> None:
    if not holds:
        raise InvalidInput(name, problem, fix)
