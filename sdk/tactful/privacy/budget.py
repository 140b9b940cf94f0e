"""The device's ledger: exact charges against caps, as an append-only hash chain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Literal

from tactful.errors import BudgetExhausted, InvalidInput, VaultDamaged
from tactful.privacy.mechanism import format_fraction

GENESIS = "0" * 64  # the previous hash of the first entry
StepState = Literal["sent", "acknowledged", "abandoned"]
STEP_STATES: tuple[StepState, ...] = ("sent", "acknowledged", "abandoned")
CARRIED = "carried"  # the purpose of spending carried over from an earlier ledger


@dataclass(frozen=True, kw_only=True)
class Charge:
    """The declared cost of one report.

    `rho` is the cost that the task declares; it does not depend on the norm of the
    vector. `task_id` and `report_id` are in hex, `time` in unix seconds. `event` is the
    release that is paid for, as stored values; it is empty for carried spending.
    """

    task_id: str
    purpose: str
    rho: Fraction
    time: int
    report_id: str = ""
    event: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise InvalidInput unless rho is an exact fraction above 0.

        A charge can neither be free nor refund anything.
        """
        if not isinstance(self.rho, Fraction) or self.rho <= 0:
            raise InvalidInput(
                "charge.rho",
                f"{self.rho!r} is not a fraction above 0",
                "use the task's rho",
            )

    @property
    def is_gaussian(self) -> bool:
        """True if the curve of the Gaussian mechanism is proved for the release.

        Rounding a Gaussian is post-processing and costs nothing. For discrete
        Gaussians, for their sums and for carried spending, only rho is known.
        """
        return self.event.get("family") == "rounded_gaussian"

    def body(self) -> dict[str, object]:
        """Return the charge as plain values; rho is "numerator/denominator"."""
        return {
            "state": "charged",
            "task_id": self.task_id,
            "purpose": self.purpose,
            "rho": format_fraction(self.rho),
            "time": self.time,
            "report_id": self.report_id,
            "event": dict(self.event),
        }

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> Charge:
        """Return the charge of `body`; raise VaultDamaged if it is invalid."""
        try:
            event = body["event"]
            return cls(
                task_id=str(body["task_id"]),
                purpose=str(body["purpose"]),
                rho=Fraction(str(body["rho"])),
                time=_int(body["time"]),
                report_id=str(body["report_id"]),
                event=dict(event) if isinstance(event, Mapping) else {},
            )
        except (KeyError, ValueError, ZeroDivisionError) as wrong:
            raise VaultDamaged("charge: a recorded charge cannot be read") from wrong


@dataclass(frozen=True, kw_only=True)
class Step:
    """A later state of a charged report; it costs nothing and refunds nothing."""

    state: StepState
    task_id: str
    time: int
    report_id: str = ""

    def body(self) -> dict[str, object]:
        """Return the step as plain values for JSON."""
        return dict(vars(self))

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> Step:
        """Return the step of `body`; raise VaultDamaged if it is invalid."""
        time = body.get("time")
        for state in STEP_STATES:
            if body.get("state") == state and isinstance(time, int):
                return cls(
                    state=state,
                    task_id=str(body.get("task_id")),
                    time=time,
                    report_id=str(body.get("report_id")),
                )
        raise VaultDamaged("ledger: a recorded step cannot be read")


Entry = Charge | Step


@dataclass(frozen=True)
class Ledger:
    """All charges of a device against a lifetime cap; nothing is ever refunded.

    `cap` is the most rho that may be spent, `caps` the most for single purposes. The
    same epsilon allows less rho if the Gaussian curve is not proved for every charge.
    `zcdp_cap` and `zcdp_caps` apply in that case; where they are missing, `cap` and
    `caps` do.
    """

    cap: Fraction
    entries: tuple[Entry, ...] = ()
    caps: Mapping[str, Fraction] = field(default_factory=dict)
    zcdp_cap: Fraction | None = None
    zcdp_caps: Mapping[str, Fraction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise InvalidInput for a cap below 0."""
        total_caps = [("cap", self.cap), ("zcdp_cap", self.zcdp_cap or Fraction(0))]
        for name, cap in (*total_caps, *self.caps.items(), *self.zcdp_caps.items()):
            if not isinstance(cap, Fraction | int) or cap < 0:
                raise InvalidInput(
                    f"budget.{name}", f"{cap!r} is below 0", "use a fraction >= 0"
                )

    @cached_property
    def charges(self) -> tuple[Charge, ...]:
        """All charges, oldest first."""
        return tuple(entry for entry in self.entries if isinstance(entry, Charge))

    @cached_property
    def spent(self) -> Fraction:
        """The rho of all charges together."""
        return total(self.charges)

    def spent_on(self, purpose: str) -> Fraction:
        """Return the rho of all charges for `purpose`."""
        return total(charge for charge in self.charges if charge.purpose == purpose)

    @property
    def remaining(self) -> Fraction:
        """The rho that noise of the families so far may still cost; never below 0."""
        return max(self._cap_for(self.charges) - self.spent, Fraction(0))

    def spend(self, charge: Charge) -> Ledger:
        """Return the ledger with `charge`; raise BudgetExhausted if it exceeds a cap.

        The comparison uses public numbers only, so neither the ledger nor a refusal
        depends on the person's events.
        """
        cap = self._cap_for((*self.charges, charge))
        if self.spent + charge.rho > cap:
            raise BudgetExhausted(_refusal("privacy budget", charge, self.spent, cap))
        purpose = charge.purpose
        spent = self.spent_on(purpose)
        purpose_cap = self._purpose_cap_for(charge)
        if purpose_cap is not None and spent + charge.rho > purpose_cap:
            raise BudgetExhausted(
                _refusal(f"privacy budget for {purpose}", charge, spent, purpose_cap)
            )
        return self.recorded(charge)

    def _cap_for(self, charges: Iterable[Charge]) -> Fraction:
        """Return the cap in rho on `charges`, by what is proved of their noise."""
        if self.zcdp_cap is None or all(charge.is_gaussian for charge in charges):
            return self.cap
        return min(self.cap, self.zcdp_cap)

    def _purpose_cap_for(self, charge: Charge) -> Fraction | None:
        """Return the cap on the purpose of `charge`; None if the purpose has none."""
        purpose = charge.purpose
        cap = self.caps.get(purpose)
        if cap is None:
            return None
        earlier = (old for old in self.charges if old.purpose == purpose)
        if all(purpose_charge.is_gaussian for purpose_charge in (*earlier, charge)):
            return cap
        return min(cap, self.zcdp_caps.get(purpose, cap))

    def recorded(self, entry: Entry) -> Ledger:
        """Return the ledger with an `entry` that was committed before, without a check.

        Spending that happened is recorded even if the cap is lower now.
        """
        return replace(self, entries=(*self.entries, entry))

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """Every entry in canonical form, as it is hashed and shown to an auditor."""
        return tuple(line(entry) for entry in self.entries)

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """The hash chain over the entries, in hex."""
        return chain(self.lines)

    @property
    def head(self) -> str:
        """The last hash of the chain; it reveals a changed or missing entry."""
        return self.hashes[-1] if self.hashes else GENESIS

    def verify(self, head: str) -> None:
        """Raise VaultDamaged unless `head` is a hash of this chain."""
        if head not in (GENESIS, *self.hashes):
            raise VaultDamaged(
                "ledger: a charge was changed or is missing; restore the newest vault"
            )


def total(charges: Iterable[Charge]) -> Fraction:
    """Return the exact rho of `charges` together."""
    return sum((charge.rho for charge in charges), Fraction(0))


def line(entry: Entry) -> str:
    """Return an entry as one line of canonical JSON."""
    return json.dumps(entry.body(), sort_keys=True, separators=(",", ":"))


def chain(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the hash chain over `lines`, in hex.

    Each hash is the SHA-256 of the previous hash followed by the line.
    """
    hashes, previous = [], bytes.fromhex(GENESIS)
    for text in lines:
        previous = hashlib.sha256(previous + text.encode()).digest()
        hashes.append(previous.hex())
    return tuple(hashes)


def parse(text: str) -> Entry:
    """Return the entry of a canonical line; raise VaultDamaged for any other."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise VaultDamaged("ledger: a line is not JSON") from wrong
    if not isinstance(body, dict):
        raise VaultDamaged("ledger: a line is not a JSON object")
    entry_type = Charge if body.get("state") == "charged" else Step
    try:
        entry = entry_type.from_body(body)
    except InvalidInput as wrong:
        raise VaultDamaged(f"ledger: {wrong}") from wrong
    # Two texts of one entry would have two hashes, so only the canonical one is valid.
    if line(entry) != text:
        raise VaultDamaged("ledger: a line is not in canonical form")
    return entry


def _refusal(budget: str, charge: Charge, spent: Fraction, cap: Fraction) -> str:
    return (
        f"{budget}: a charge of rho {float(charge.rho):.6g} exceeds the cap of "
        f"{float(cap):.6g}, of which {float(spent):.6g} is spent; decline the task, or "
        "ask the person to raise the cap"
    )


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError("not an integer")
    return value
