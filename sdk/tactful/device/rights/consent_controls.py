"""The person's consent for single purposes."""

from __future__ import annotations

from collections.abc import Callable

from tactful.device import checks
from tactful.device.consent import PURPOSES, Consent, ConsentNotice

Answer = Callable[[Consent, ConsentNotice, frozenset[str]], None]


class ConsentControls:
    """Grants and withdrawals, purpose by purpose; other purposes stay as they are."""

    def __init__(self, current: Callable[[], Consent], answer: Answer) -> None:
        """Prepare; `answer` records the answer for some purposes."""
        self._current = current
        self._answer = answer

    @property
    def current(self) -> Consent:
        """The consent in force now, with a reason for each denied purpose."""
        return self._current()

    def grant(self, *purposes: str, notice: ConsentNotice | None = None) -> None:
        """Record that the person grants `purposes`.

        `notice` is what they were shown. Raise InvalidInput for an unknown purpose,
        NotStored if the vault cannot be written.
        """
        named = _require_purposes(purposes)
        self._answer(Consent(granted=named), notice or ConsentNotice(), named)

    def withdraw(self, *purposes: str, notice: ConsentNotice | None = None) -> None:
        """Record that the person refuses `purposes`.

        When it returns, no report for them is on its way or queued. Raise InvalidInput
        for an unknown purpose. Raise NotStored if the vault cannot be written; the
        answer then takes effect in this process.
        """
        named = _require_purposes(purposes)
        self._answer(Consent(refused=named), notice or ConsentNotice(), named)


def _require_purposes(purposes: tuple[str, ...]) -> frozenset[str]:
    checks.require(
        bool(purposes), "purposes", "none is named", "name one or more purposes"
    )
    for purpose in purposes:
        checks.one_of("purposes", purpose, PURPOSES)
    return frozenset(purposes)
