"""What the app decides once: where the vault lies, how strong the knobs are, with whom to share."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, get_args

from tactful.device import checks
from tactful.device.checks import require as _require
from tactful.device.list_policy import ListPolicy, PlacementRules
from tactful.errors import InvalidInput
from tactful.protocol.address import require_protected

STRICT: dict[str, object] = {"extra": "forbid", "strict": True}
Placement = Literal["aggregator", "devices", "local"]
SPENDING = ("share_dp_updates", "share_dp_metrics")  # the purposes that are charged
TINY, MOST_WHOLE = 5e-324, 10**9
NUMBERS = (  # name, least, most, fix
    ("balance", 0.0, 1.0, "use 0 to 1"),
    ("diversity", 0.0, 1.0, "use 0 to 1"),
    (
        "lifetime_epsilon",
        0.0,
        checks.FINITE,
        "use 0 (share nothing) or a positive number",
    ),
    ("delta", TINY, 1 - 2.0**-53, "use a number between 0 and 1, 1e-6 if unsure"),
    ("refresh_hours", TINY, checks.FINITE, "use a number above 0, 24 if unsure"),
)
WHOLE = (  # name, least, fix
    ("min_batch_size", 1, "use a whole number, 1000 if unsure"),
)


@dataclass(frozen=True, kw_only=True)
class Aggregators:
    """The pair that sums contributions to `model`: addresses, Ed25519 public keys (base64).

    `placement` says whose noise the app promises to its people (docs/privacy.md): each half's, the
    devices' in shares, or `local`, all of it by each device, where one operator runs both halves.
    A task with another is refused. `publisher` is where signed tasks and models are found, None for
    the leader: a foreign aggregator (docs/operating.md) knows neither, and signs nothing. Where
    `publisher` is set, nobody signs the keys that reports are sealed to: TLS alone protects them.
    """

    model: str
    leader: str
    helper: str
    leader_key: str
    helper_key: str
    placement: Placement = "aggregator"
    publisher: str | None = None

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        name = isinstance(self.model, str) and re.fullmatch(
            r"[a-z0-9-]{1,64}", self.model
        )
        problem = f"{self.model!r} is not a model name"
        _require(
            bool(name), "aggregators.model", problem, "use 1 to 64 of a-z, 0-9 and -"
        )
        for half in (
            "leader",
            "helper",
            *(() if self.publisher is None else ("publisher",)),
        ):
            _require_address(f"aggregators.{half}", getattr(self, half))
        for half in ("leader_key", "helper_key"):
            _public_key(f"aggregators.{half}", getattr(self, half))
        checks.one_of("aggregators.placement", self.placement, get_args(Placement))
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
    `trust_days`: how long a device waits before it contributes, after its vault was made or put
    back, for nothing proves that its ledger is whole (docs/privacy.md); at least 1.
    `min_batch_size`: the smallest crowd this device joins or accepts a model from.
    `on_state_loss`: what a lost or damaged vault counts as, `half` of each limit or all of it
    (`closed`), for a day; lifetime limits until erased. `policy_version`: of the text that consent
    is asked with; a new one ends what was granted. `refresh_hours`: how often to look for a new
    model (`refresh_due` says when; nothing is fetched unasked).
    `list_policy`, `brand`: what every list should hold (see docs/recommendation.md).
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
    list_policy: ListPolicy = field(default_factory=ListPolicy)
    placement_rules: PlacementRules = field(default_factory=PlacementRules)

    least_trust_days: ClassVar[int] = 1
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        """Raise InvalidInput by field: what cannot be is refused before anything is opened."""
        if self.path is not None:
            checks.path("settings.path", self.path)
        for name, least, most, fix in NUMBERS:
            checks.number(f"settings.{name}", getattr(self, name), least, most, fix)
        for name, least, fix in WHOLE:
            checks.whole(
                f"settings.{name}", getattr(self, name), least, MOST_WHOLE, fix
            )
        fix = "use whole days from 1 on, 7 if unsure"
        least_days = self.least_trust_days
        checks.whole(
            "settings.trust_days", self.trust_days, least_days, MOST_WHOLE, fix
        )
        checks.text("settings.policy_version", self.policy_version)
        checks.one_of("settings.on_state_loss", self.on_state_loss, ("half", "closed"))
        checks.instance(
            "settings.list_policy",
            self.list_policy,
            ListPolicy,
            "use tactful.ListPolicy(...)",
        )
        checks.instance(
            "settings.placement_rules",
            self.placement_rules,
            PlacementRules,
            "use tactful.PlacementRules(...)",
        )
        if self.aggregators is not None:
            fix = "use tactful.Aggregators(...), or None"
            checks.instance("settings.aggregators", self.aggregators, Aggregators, fix)
        _require_budgets(self.purpose_epsilon)

    @classmethod
    def from_file(cls, path: str | Path) -> Settings:
        """Read a TOML file; errors name the field and the fix."""
        import json
        import tomllib

        from pydantic import TypeAdapter, ValidationError

        checks.path("settings", path)
        try:
            document = tomllib.loads(Path(path).read_text("utf-8"))
            return TypeAdapter(cls).validate_json(
                json.dumps({"path": None, **document}, default=str)
            )
        except OSError as absent:
            raise InvalidInput(
                "settings", f"{path} cannot be read", "name a TOML file"
            ) from absent
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
            raise InvalidInput(
                "settings", f"{path}: {wrong}", "correct the file"
            ) from wrong
        except ValidationError as wrong:
            first = wrong.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise InvalidInput(
                f"settings: {where}", first["msg"], "correct the file"
            ) from wrong


def _require_budgets(budgets: object) -> None:
    """Raise InvalidInput unless each is what one purpose may spend."""
    if budgets is None:
        return
    checks.instance(
        "settings.purpose_epsilon", budgets, dict, "name purposes and their budgets"
    )
    for purpose, most in dict(budgets).items() if isinstance(budgets, dict) else ():
        checks.one_of("settings.purpose_epsilon", purpose, SPENDING)
        field = f"settings.purpose_epsilon.{purpose}"
        checks.number(
            field, most, 0, checks.FINITE, "use 0 (nothing) or a positive number"
        )


def _require_address(name: str, url: object) -> None:
    address = isinstance(url, str) and re.match(r"https?://[^/]+", url)
    _require(bool(address), name, f"{url!r} is no URL", "use https:// and a host")
    require_protected(name, str(url))


def _public_key(name: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (TypeError, ValueError):  # binascii.Error is one
        key = b""
    _require(
        len(key) == 32,
        name,
        "not 32 bytes of base64",
        "copy it from `tactful-aggregator init`",
    )
    return key
