"""`me.sharing`: what leaves the device, what comes back, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from tactful.device.core import DeviceCore
    from tactful.device.network.contributor import Contribution
    from tactful.device.state.device_state import Disclosure
    from tactful.privacy.lifetime import LifetimeSpending
    from tactful.protocol.documents.model_release import ModelRelease


class SharingApi:
    """Contributions to a training and updates of the model; only this reaches the network."""

    def __init__(self, core: DeviceCore) -> None:
        self._core = core

    def contribute(self) -> Contribution:
        """Send one report for the open round, charged before it is sent.

        Called again for the same round it charges nothing. Raises ConsentMissing,
        TrustPending, BudgetExhausted, TaskRejected, HpkeConfigRejected, ReportRejected,
        TransportError.
        """
        return self._core.sharing.contribute(self._core.likes, self._core.catalog)

    def cover(self) -> Contribution:
        """Send zeros to the open round, so that sharing cannot be told from not sharing.

        Once a round, in place of a contribution; it costs nothing. Raises ConsentMissing,
        TaskRejected, HpkeConfigRejected, ReportRejected, TransportError.
        """
        return self._core.sharing.cover()

    def refresh(self) -> ModelRelease:
        """Fetch, verify and adopt the newest model; raises ModelRejected, TransportError."""
        return self._core.sharing.refresh(self._core.catalog)

    def refresh_due(self) -> datetime | None:
        """Return when to call `refresh` next, UTC; None if the device shares with nobody.

        Each device has its own delay of up to a quarter of `settings.refresh_hours`, so that
        not all ask at once. A failed try counts too. Nothing is fetched here.
        """
        return self._core.sharing.refresh_due()

    def lifetime(self) -> LifetimeSpending:
        """Return what sharing has cost: in all, in the last year, by purpose and by task."""
        from tactful.privacy.lifetime import lifetime_spending

        now_seconds = self._core.caps.clock.ledger_time()[1] // 1000
        ledger = self._core.state_cache.current().ledger
        return lifetime_spending(ledger, self._core.settings.delta, now_seconds)

    def sent_bytes(self, disclosure: Disclosure) -> bytes:
        """Return the exact bytes of a report, as they left this device."""
        from tactful.device.network.contributor import report_bytes

        return report_bytes(self._core.vault, disclosure)

    def ledger_evidence(self) -> dict[str, object]:
        """Return the signed ledger and what left, for an auditor; nothing of the person.

        Its head can be compared with an earlier one: a ledger only grows.
        """
        from tactful.device.rights.ledger_export import evidence

        return evidence(self._core.vault, self._core.state_cache.current())
