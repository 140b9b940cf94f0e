"""Settings of the app: where the vault is, how lists are mixed, with whom to share."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, get_args

from tactful.device import checks
from tactful.device.checks import require
from tactful.device.list_policy import ListPolicy, PlacementRules
from tactful.errors import InvalidInput
from tactful.protocol.address import require_protected

STRICT: dict[str, object] = {"extra": "forbid", "strict": True}
Placement = Literal["aggregator", "devices", "local"]
# Purposes that reports are charged to.
CHARGED_PURPOSES = ("share_dp_updates", "share_dp_metrics")
SMALLEST_FLOAT = 5e-324
LARGEST_BELOW_ONE = 1 - 2.0**-53
MAX_INTEGER = 10**9
NUMBERS = (  # name, least, most, fix
    ("balance", 0.0, 1.0, "use 0 to 1"),
    ("diversity", 0.0, 1.0, "use 0 to 1"),
    (
        "lifetime_epsilon",
        0.0,
        checks.FINITE,
        "use 0 (share nothing) or a positive number",
    ),
    (
        "delta",
        SMALLEST_FLOAT,
        LARGEST_BELOW_ONE,
        "use a number between 0 and 1, 1e-6 if unsure",
    ),
    (
        "refresh_hours",
        SMALLEST_FLOAT,
        checks.FINITE,
        "use a number above 0, 24 if unsure",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Aggregators:
    """The two aggregators that sum contributions to `model`.

    - `leader`, `helper`: their addresses, and `leader_key`, `helper_key`: their Ed25519
      public keys in base64.
    - `placement`: who adds the noise that the app promises to its people
      (docs/privacy.md): each `aggregator`, the `devices` in shares, or `local`, where
      each device adds all of it, for one operator that runs both aggregators. Tasks
      with another placement are refused.
    - `publisher`: where signed tasks and models are published, None for the leader. A
      foreign aggregator (docs/operating.md) has neither and signs nothing. With a
      `publisher`, the keys that reports are sealed to are protected by TLS alone.
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
        """Raise InvalidInput for a wrong field."""
        is_name = isinstance(self.model, str) and bool(
            re.fullmatch(r"[a-z0-9-]{1,64}", self.model)
        )
        problem = f"{self.model!r} is not a model name"
        require(is_name, "aggregators.model", problem, "use 1 to 64 of a-z, 0-9 and -")
        _require_address("aggregators.leader", self.leader)
        _require_address("aggregators.helper", self.helper)
        if self.publisher is not None:
            _require_address("aggregators.publisher", self.publisher)
        _require_public_key("aggregators.leader_key", self.leader_key)
        _require_public_key("aggregators.helper_key", self.helper_key)
        checks.one_of("aggregators.placement", self.placement, get_args(Placement))
        require(
            self.leader != self.helper and self.leader_key != self.helper_key,
            "aggregators.helper",
            "leader and helper are the same",
            "name two separate operators, because one alone can read every report",
        )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one app; every default is the private choice.

    - `path`: the vault's file; None keeps everything in memory.
    - `caps`: a document of frequency caps (docs/caps.md); None for the default caps.
    - `balance`: the largest share of the personal list, 0 to 1; 0 is the standard list.
    - `diversity`: 0 (relevance only) to 1 (variety only).
    - `aggregators`: with whom to share; None shares nothing.
    - `lifetime_epsilon`: the most that this device may ever spend, at `delta`; 0 shares
      nothing.
    - `purpose_epsilon`: the most that one purpose may spend of it, by purpose.
    - `trust_days`: how long a device waits before it contributes after its vault was
      made or restored, because its ledger may be incomplete (docs/privacy.md); at
      least 1.
    - `min_batch_size`: the smallest batch that this device joins, or accepts a model
      from.
    - `on_state_loss`: how much of each frequency cap counts as used for a day after the
      vault was lost or damaged: `half` of it, or all of it (`closed`). Lifetime caps
      count it until it is erased.
    - `policy_version`: the version of the text that asks for consent; a new one ends
      earlier grants.
    - `refresh_hours`: how often to look for a new model. `refresh_due` says when;
      nothing is fetched by itself.
    - `list_policy`, `placement_rules`: requirements for every list
      (docs/recommendation.md).
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
        """Raise InvalidInput for a wrong field, before anything is opened."""
        if self.path is not None:
            checks.path("settings.path", self.path)
        for name, least, most, fix in NUMBERS:
            checks.number(f"settings.{name}", getattr(self, name), least, most, fix)
        checks.whole(
            "settings.min_batch_size",
            self.min_batch_size,
            1,
            MAX_INTEGER,
            "use a whole number from 1, 1000 if unsure",
        )
        checks.whole(
            "settings.trust_days",
            self.trust_days,
            self.least_trust_days,
            MAX_INTEGER,
            "use whole days from 1, 7 if unsure",
        )
        checks.text("settings.policy_version", self.policy_version)
        checks.one_of("settings.on_state_loss", self.on_state_loss, ("half", "closed"))
        for name, kind in (
            ("list_policy", ListPolicy),
            ("placement_rules", PlacementRules),
        ):
            fix = f"use tactful.{kind.__name__}(...)"
            checks.instance(f"settings.{name}", getattr(self, name), kind, fix)
        if self.aggregators is not None:
            fix = "use tactful.Aggregators(...), or None"
            checks.instance("settings.aggregators", self.aggregators, Aggregators, fix)
        _require_budgets(self.purpose_epsilon)

    @classmethod
    def from_file(cls, path: str | Path) -> Settings:
        """Return the settings in a TOML file; raise InvalidInput with field and fix."""
        import json
        import tomllib

        from pydantic import TypeAdapter, ValidationError

        checks.path("settings", path)
        try:
            document = tomllib.loads(Path(path).read_text("utf-8"))
            text = json.dumps({"path": None, **document}, default=str)
            return TypeAdapter(cls).validate_json(text)
        except OSError as error:
            raise InvalidInput(
                "settings", f"{path} cannot be read", "name a TOML file"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(
                "settings", f"{path}: {error}", "correct the file"
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            field_path = ".".join(str(part) for part in first["loc"]) or "document"
            raise InvalidInput(
                f"settings: {field_path}", first["msg"], "correct the file"
            ) from error


def _require_budgets(budgets: object) -> None:
    """Raise InvalidInput unless each value is the budget of a charged purpose."""
    if budgets is None:
        return
    fix = "use a dict of purposes and their epsilon"
    checks.instance("settings.purpose_epsilon", budgets, dict, fix)
    if not isinstance(budgets, dict):
        return
    for purpose, epsilon in budgets.items():
        checks.one_of("settings.purpose_epsilon", purpose, CHARGED_PURPOSES)
        field_name = f"settings.purpose_epsilon.{purpose}"
        fix = "use 0 (nothing) or a positive number"
        checks.number(field_name, epsilon, 0, checks.FINITE, fix)


def _require_address(field_name: str, url: object) -> None:
    is_url = isinstance(url, str) and bool(re.match(r"https?://[^/]+", url))
    require(is_url, field_name, f"{url!r} is not a URL", "use https:// and a host")
    require_protected(field_name, str(url))


def _require_public_key(field_name: str, text: str) -> None:
    try:
        key = base64.b64decode(text, validate=True)
    except (TypeError, ValueError):  # binascii.Error is a ValueError
        key = b""
    fix = "copy it from the output of `tactful-aggregator init`"
    require(len(key) == 32, field_name, "it is not 32 bytes in base64", fix)
