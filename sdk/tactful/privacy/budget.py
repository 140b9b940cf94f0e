"""The device's ledger: what was charged, in exact fractions, as a hash chain that only grows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Literal

from tactful.errors import BudgetExhausted, InvalidInput, VaultDamaged
from tactful.privacy.mechanism import written

GENESIS = "0" * 64  # what the first entry calls its predecessor
Later = Literal["sent", "acknowledged", "abandoned"]
LATER: tuple[Later, ...] = ("sent", "acknowledged", "abandoned")
CARRIED = "carried"  # the purpose of what an earlier ledger of this device had spent


@dataclass(frozen=True, kw_only=True)
class Charge:
    """The declared cost of one report: `rho` is the task's, never the realised norm's.

    `task_id` and `report_id` are in hex, `time` in unix seconds, `event` the release it pays for
    as stored values (empty for what was carried over). Raises InvalidInput unless rho is an exact
    fraction above 0: a charge can neither be free nor give anything back.
    """

    task_id: str
    purpose: str
    rho: Fraction
    time: int
    report_id: str = ""
    event: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.rho, Fraction) or self.rho <= 0:
            raise InvalidInput(
                "charge.rho",
                f"{self.rho!r} is not a fraction above 0",
                "use the task's rho",
            )

    @property
    def is_gaussian(self) -> bool:
        """Whether the Gaussian's own curve is proved for the release; else only its rho is.

        Rounding a Gaussian costs nothing. Of discrete Gaussians, of their sums, and of what an
        earlier ledger spent, rho is all that is known.
        """
        return self.event.get("family") == "rounded_gaussian"

    def body(self) -> dict[str, object]:
        """The charge as plain values for JSON; rho is written \"numerator/denominator\"."""
        return {
            "state": "charged",
            "task_id": self.task_id,
            "purpose": self.purpose,
            "rho": written(self.rho),
            "time": self.time,
            "report_id": self.report_id,
            "event": dict(self.event),
        }

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> Charge:
        """The charge that `body` describes; raises VaultDamaged if it describes none."""
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
    """What became of a charged report later; it costs nothing, and gives nothing back."""

    state: Later
    task_id: str
    time: int
    report_id: str = ""

    def body(self) -> dict[str, object]:
        """The step as plain values for JSON."""
        return dict(vars(self))

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> Step:
        """The step that `body` describes; raises VaultDamaged if it describes none."""
        for state in LATER:
            if body.get("state") == state:
                task_id, report_id = (
                    str(body.get("task_id")),
                    str(body.get("report_id")),
                )
                time = body.get("time")
                if isinstance(time, int):
                    return cls(
                        state=state, task_id=task_id, time=time, report_id=report_id
                    )
        raise VaultDamaged("ledger: a recorded step cannot be read")


Entry = Charge | Step


@dataclass(frozen=True)
class Ledger:
    """All charges against one cap in rho; whatever happens later, nothing is refunded.

    `caps` are what each purpose may spend of it; a purpose without one has only the whole.
    The same epsilon allows less rho where the Gaussian's own curve is not proved for every charge:
    `zcdp_cap` and `zcdp_caps` are the most then, None and absent for the same as `cap` and `caps`.
    """

    cap: Fraction
    entries: tuple[Entry, ...] = ()
    caps: Mapping[str, Fraction] = field(default_factory=dict)
    zcdp_cap: Fraction | None = None
    zcdp_caps: Mapping[str, Fraction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        whole = [("cap", self.cap), ("zcdp_cap", self.zcdp_cap or Fraction(0))]
        for name, cap in (*whole, *self.caps.items(), *self.zcdp_caps.items()):
            if not isinstance(cap, Fraction | int) or cap < 0:
                raise InvalidInput(
                    f"budget.{name}", f"{cap!r} is below 0", "use a fraction >= 0"
                )

    @cached_property
    def charges(self) -> tuple[Charge, ...]:
        """What was charged, oldest first."""
        return tuple(entry for entry in self.entries if isinstance(entry, Charge))

    @cached_property
    def spent(self) -> Fraction:
        """The rho of all charges together."""
        return total(self.charges)

    def spent_on(self, purpose: str) -> Fraction:
        """The rho of all charges for one purpose."""
        return total(charge for charge in self.charges if charge.purpose == purpose)

    @property
    def left(self) -> Fraction:
        """The rho that may still be charged for noise of the kinds so far, never below 0."""
        return max(self._most(self.charges) - self.spent, Fraction(0))

    def spend(self, charge: Charge) -> Ledger:
        """The ledger with `charge` in it; raises BudgetExhausted if a cap would be passed.

        The comparison sees public numbers only, so neither ledger nor refusal depends on data.
        """
        most = self._most((*self.charges, charge))
        if self.spent + charge.rho > most:
            raise BudgetExhausted(_refusal("privacy budget", charge, self.spent, most))
        purpose, spent = charge.purpose, self.spent_on(charge.purpose)
        most_on = self._most_on(purpose, charge)
        if most_on is not None and spent + charge.rho > most_on:
            raise BudgetExhausted(
                _refusal(f"budget for {purpose}", charge, spent, most_on)
            )
        return self.recorded(charge)

    def _most(self, charges: Iterable[Charge]) -> Fraction:
        """Return the most rho of these charges together, by what is proved of their noise."""
        if self.zcdp_cap is None or all(charge.is_gaussian for charge in charges):
            return self.cap
        return min(self.cap, self.zcdp_cap)

    def _most_on(self, purpose: str, charge: Charge) -> Fraction | None:
        """Return the same for one purpose with `charge`; None if it has no cap of its own."""
        cap = self.caps.get(purpose)
        earlier = (one for one in self.charges if one.purpose == purpose)
        if cap is None or all(one.is_gaussian for one in (*earlier, charge)):
            return cap
        return min(cap, self.zcdp_caps.get(purpose, cap))

    def recorded(self, entry: Entry) -> Ledger:
        """The ledger with an `entry` that was committed before: read back, not asked again."""
        return replace(self, entries=(*self.entries, entry))

    def with_cap(self, cap: Fraction) -> Ledger:
        """The same charges under another cap; lowering it below `spent` only stops spending."""
        return replace(self, cap=cap)

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """Every entry in its one form, as it is hashed and shown to an auditor."""
        return tuple(line(entry) for entry in self.entries)

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """The hash chain over the entries, in hex."""
        return chain(self.lines)

    @property
    def head(self) -> str:
        """The last hash of the chain: whoever holds it can tell if an entry was changed or cut."""
        return self.hashes[-1] if self.hashes else GENESIS

    def verify(self, head: str) -> None:
        """Check that `head` is a hash of this chain's history; raises VaultDamaged."""
        if head not in (GENESIS, *self.hashes):
            raise VaultDamaged(
                "ledger: a charge was changed or is missing; restore the newest vault"
            )


def total(charges: Iterable[Charge]) -> Fraction:
    """The rho of `charges` together, exact."""
    return sum((charge.rho for charge in charges), Fraction(0))


def line(entry: Entry) -> str:
    """An entry as one line of JSON, always the same."""
    return json.dumps(entry.body(), sort_keys=True, separators=(",", ":"))


def chain(lines: Iterable[str]) -> tuple[str, ...]:
    """For each line the sha256 of the hash before it and of the line, in hex."""
    hashes, previous = [], bytes.fromhex(GENESIS)
    for text in lines:
        previous = hashlib.sha256(previous + text.encode()).digest()
        hashes.append(previous.hex())
    return tuple(hashes)


def parse(text: str) -> Entry:
    """The entry of a line; raises VaultDamaged if it is none, or not in its one form."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise VaultDamaged("ledger: a line is not JSON") from wrong
    if not isinstance(body, dict):
        raise VaultDamaged("ledger: a line is no entry")
    try:
        entry = (Charge if body.get("state") == "charged" else Step).from_body(body)
    except InvalidInput as wrong:
        raise VaultDamaged(f"ledger: {wrong}") from wrong
    if line(entry) != text:
        raise VaultDamaged("ledger: a line is not in its one form")
    return entry


def _refusal(what: str, charge: Charge, spent: Fraction, cap: Fraction) -> str:
    asked, so_far, most = (float(rho) for rho in (charge.rho, spent, cap))
    return (
        f"{what}: rho {asked:.6g} asked, {so_far:.6g} spent of a cap of {most:.6g}; "
        "decline the task, or let the person agree to a higher cap"
    )


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError("not a whole number")
    return value
