"""The drafts that are spoken: what differs between them, as one record each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tactful.vdaf.flp import Basis
from tactful.vdaf.xof import TurboShake128

Kind = Literal["count", "sum", "sum_vec", "histogram"]


@dataclass(frozen=True)
class Version:
    """What differs between drafts: bytes that name it, seeds, and the form of proofs.

    VDAF-18 equals -19 and -20 on the wire. `per_call` means joint randomness for each call.
    """

    number: int
    first_id: int
    turboshake: TurboShake128
    helper_seeds: int  # 1 for measurement and proof together, 2 for one each
    basis: Basis
    per_call: bool
    has_context: bool

    def id_of(self, kind: Kind) -> int:
        """The algorithm's number."""
        kinds: tuple[Kind, ...] = ("count", "sum", "sum_vec", "histogram")
        return self.first_id + kinds.index(kind)


VDAF_18 = Version(18, 1, TurboShake128(32, 2, True), 1, "values", True, True)
VDAF_08 = Version(8, 0, TurboShake128(16, 1, False), 2, "coefficients", False, False)
