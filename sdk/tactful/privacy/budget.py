"""The device's ledger: what was charged, in exact fractions; it only ever grows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from tactful.errors import BudgetExhausted, InvalidInput, VaultDamaged

GENESIS = "0" * 64  # what the first entry calls its predecessor


@dataclass(frozen=True, kw_only=True)
class Charge:
    """The declared cost of one report: `rho` is the task's, never the realised norm's.

    `task_id` is in hex, `time` in unix seconds. Raises InvalidInput unless rho is an exact
    fraction above 0: a charge can neither be free nor give anything back.
    """

    task_id: str
    purpose: str
    rho: Fraction
    time: int

    def __post_init__(self) -> None:
        if not isinstance(self.rho, Fraction) or self.rho <= 0:
            raise InvalidInput(
                "charge.rho", f"{self.rho!r} is not a fraction above 0", "use the task's rho"
            )

    def body(self) -> dict[str, object]:
        """The charge as plain values for JSON; rho is written \"numerator/denominator\"."""
        rho = f"{self.rho.numerator}/{self.rho.denominator}"
        return {"task_id": self.task_id, "purpose": self.purpose, "rho": rho, "time": self.time}

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> Charge:
        """The charge that `body` describes; raises VaultDamaged if it describes none."""
        try:
            task_id, purpose, rho, time = (body[name] for name in cls.__dataclass_fields__)
            return cls(
                task_id=str(task_id), purpose=str(purpose), rho=Fraction(str(rho)), time=_int(time)
            )
        except (KeyError, ValueError, ZeroDivisionError) as wrong:
            raise VaultDamaged("charge: a recorded charge cannot be read") from wrong


@dataclass(frozen=True)
class Ledger:
    """All charges against one cap in rho; whatever happens later, nothing is refunded."""

    cap: Fraction
    charges: tuple[Charge, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.cap, Fraction | int) or self.cap < 0:
            raise InvalidInput("budget.cap", f"{self.cap!r} is below 0", "use a fraction >= 0")

    @cached_property
    def spent(self) -> Fraction:
        """The rho of all charges together."""
        return sum((charge.rho for charge in self.charges), Fraction(0))

    @property
    def left(self) -> Fraction:
        """The rho that may still be charged, never below 0."""
        return max(self.cap - self.spent, Fraction(0))

    def spend(self, charge: Charge) -> Ledger:
        """The ledger with `charge` in it; raises BudgetExhausted if the cap would be passed.

        The comparison sees public numbers only, so neither ledger nor refusal depends on data.
        """
        if self.spent + charge.rho > self.cap:
            raise BudgetExhausted(self._refusal(charge))
        return Ledger(self.cap, (*self.charges, charge))

    def recorded(self, charge: Charge) -> Ledger:
        """The ledger with a `charge` that was committed before: read back, not asked again."""
        return Ledger(self.cap, (*self.charges, charge))

    def with_cap(self, cap: Fraction) -> Ledger:
        """The same charges under another cap; lowering it below `spent` only stops spending."""
        return Ledger(cap, self.charges)

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """The hash chain over the charges: each is sha256(previous hash, index, body), in hex."""
        chain = [GENESIS]
        for index, charge in enumerate(self.charges):
            chain.append(_link(chain[-1], index, charge))
        return tuple(chain[1:])

    @property
    def head(self) -> str:
        """The last hash of the chain: whoever holds it can tell if a charge was changed or cut."""
        return self.hashes[-1] if self.hashes else GENESIS

    def verify(self, head: str) -> None:
        """Check that `head` is a hash of this chain's history; raises VaultDamaged."""
        if head not in (GENESIS, *self.hashes):
            raise VaultDamaged(
                "ledger: a charge was changed or is missing; restore the newest vault"
            )

    def _refusal(self, charge: Charge) -> str:
        cap, spent, asked = (float(rho) for rho in (self.cap, self.spent, charge.rho))
        return (
            f"privacy budget: rho {asked:.6g} asked, {spent:.6g} spent of a cap of {cap:.6g}; "
            "decline the task, or let the person agree to a higher cap"
        )


def _link(previous: str, index: int, charge: Charge) -> str:
    entry = {"index": index, "previous": previous, **charge.body()}
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError("not a whole number")
    return value
