"""`me.sharing`: contributions to a training, model updates, and their privacy cost."""

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
    """Contributions to a training, and model updates."""

    def __init__(self, core: DeviceCore) -> None:
        self._core = core

    def contribute(self) -> Contribution:
        """Charge and send one report for the open round.

        A second call for the same round charges nothing and sends the same report. Raise
        ConsentMissing, TrustPending, BudgetExhausted, TaskRejected, HpkeConfigRejected,
        ReportRejected or TransportError.
        """
        return self._core.sharing.contribute(self._core.likes, self._core.catalog)

    def cover(self) -> Contribution:
        """Send an empty report for the open round, instead of a contribution.

        It looks like any other report, so an observer cannot see who shares. It costs no
        privacy budget. Raise ConsentMissing, TaskRejected, HpkeConfigRejected,
        ReportRejected or TransportError.
        """
        return self._core.sharing.cover()

    def refresh(self) -> ModelRelease:
        """Fetch, verify and adopt the newest model, and return its release.

        Raise ModelRejected or TransportError.
        """
        return self._core.sharing.refresh(self._core.catalog)

    def refresh_due(self) -> datetime | None:
        """Return when to call `refresh` next (UTC); None without aggregators.

        Each device has its own delay of up to a quarter of `settings.refresh_hours`, so
        that not all devices ask at the same time. A failed attempt counts. Nothing is
        fetched.
        """
        return self._core.sharing.refresh_due()

    def lifetime(self) -> LifetimeSpending:
        """Return the privacy cost so far: in total, of the last year, by purpose, by task."""
        from tactful.privacy.lifetime import lifetime_spending

        now_seconds = self._core.caps.clock.ledger_time()[1] // 1000
        ledger = self._core.state_cache.current().ledger
        return lifetime_spending(ledger, self._core.settings.delta, now_seconds)

    def sent_bytes(self, disclosure: Disclosure) -> bytes:
        """Return the exact bytes of a report, as they were sent."""
        from tactful.device.network.contributor import report_bytes

        return report_bytes(self._core.vault, disclosure)

    def ledger_evidence(self) -> dict[str, object]:
        """Return the signed ledger and the reports that were made, for an auditor.

        It contains no interests. Compare its head with an earlier one: a ledger only
        grows.
        """
        from tactful.device.rights.ledger_export import evidence

        return evidence(self._core.vault, self._core.state_cache.current())
