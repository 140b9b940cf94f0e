"""The supported drafts of VDAF, as one record of what differs between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tactful.vdaf.flp import Basis
from tactful.vdaf.xof import TurboShake128

Kind = Literal["count", "sum", "sum_vec", "histogram"]


@dataclass(frozen=True)
class Version:
    """The properties of one draft: identifiers, seeds, and the form of proofs.

    VDAF-18 has the same bytes as -19 and -20. `helper_seeds` is 1 for one seed of
    measurement and proof, 2 for one each. `per_call` means joint randomness for each
    call of the gadget.
    """

    number: int
    first_id: int
    turboshake: TurboShake128
    helper_seeds: int
    basis: Basis
    per_call: bool
    has_context: bool

    def id_of(self, kind: Kind) -> int:
        """Return the number of the algorithm."""
        kinds: tuple[Kind, ...] = ("count", "sum", "sum_vec", "histogram")
        return self.first_id + kinds.index(kind)


VDAF_18 = Version(18, 1, TurboShake128(32, 2, True), 1, "values", True, True)
VDAF_08 = Version(8, 0, TurboShake128(16, 1, False), 2, "coefficients", False, False)
