"""Contributions that leave the device, and models that arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tactful.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import datetime

    from tactful.device.catalog import Catalog
    from tactful.device.network.contributor import (
        ConsentedTransport,
        Contribution,
        Contributor,
    )
    from tactful.device.network.ledger_quarantine import LedgerQuarantine
    from tactful.device.network.model_updates import ModelUpdates
    from tactful.device.network.send_lock import SendLock
    from tactful.device.settings import Aggregators, Settings
    from tactful.device.state.device_state import DeviceState
    from tactful.device.state.state_cache import StateCache
    from tactful.device.vault import Vault
    from tactful.protocol.documents.experiment import Experiment
    from tactful.protocol.documents.model_release import ModelRelease
    from tactful.protocol.transport import Transport

DAY_SECONDS = 86_400
UPDATES = ("share_dp_updates",)
METRICS = ("experiments", "share_dp_metrics")
COVER = ("cover_traffic",)


class Sharing:
    """Everything that reaches the network; consent is checked before each request."""

    def __init__(
        self,
        vault: Vault,
        settings: Settings,
        state_cache: StateCache,
        quarantine: LedgerQuarantine,
        *,
        transport: Transport | None,
        now_seconds: Callable[[], int],
        ledger_time: Callable[[], tuple[int, int]],
    ) -> None:
        """Prepare; `ledger_time` is that of the cap engine, which no clock advances."""
        from tactful.device.network.send_lock import SendLock

        self.send_lock: SendLock = SendLock(vault.path)
        self._vault = vault
        self._settings = settings
        self._state_cache = state_cache
        self._quarantine = quarantine
        self._transport = transport
        self._now_seconds = now_seconds
        self._ledger_time = ledger_time

    def contribute(
        self, likes: Callable[[DeviceState], Sequence[str]], catalog: Catalog
    ) -> Contribution:
        """Send one report of the likes for the open round, once for each round."""
        from tactful.device.measurement import measure

        state, ledger_time = self._trusted_state(UPDATES)
        now = self._now_seconds()
        transport = self._consented_transport(UPDATES)
        open_round = self._model_updates(transport).open_round(now)
        task = open_round.task
        self._quarantine.require_new(task.opens, state, ledger_time, now)
        vector = measure(likes(state), catalog, task, open_round.parameters)
        contributor = self._contributor(transport, ledger_time)
        return contributor.contribute(task, vector, state, now)

    def cover(self) -> Contribution:
        """Send zeros to the open round, once; it costs nothing."""
        from tactful.device.network.contributor import Contributor

        state = self._require_consent(COVER)
        now = self._now_seconds()
        transport = self._consented_transport(COVER)
        task = self._model_updates(transport).open_round(now).task
        contributor = Contributor(self._vault, transport, self._aggregators)
        return contributor.cover(task, state, now)

    def contribute_to(self, experiment: Experiment) -> Contribution | None:
        """Contribute this device's counts to the open period, once.

        Return None if they are not measured yet.
        """
        from tactful.device.experiments import claim_period, measure, participation

        state, ledger_time = self._trusted_state(METRICS)
        now = self._now_seconds()
        own_participation = participation(self._vault, now)
        events = self._state_cache.events()
        vector = measure(events, experiment, own_participation, now // DAY_SECONDS)
        if vector is None:
            return None
        transport = self._consented_transport(METRICS)
        task = self._model_updates(transport).open_period(experiment, now)
        self._quarantine.require_new(task.opens, state, ledger_time, now)
        if not claim_period(self._vault, experiment, task.id.hex()):
            return None
        contributor = self._contributor(transport, ledger_time)
        return contributor.contribute(task, vector, state, now)

    def refresh(self, catalog: Catalog) -> ModelRelease:
        """Fetch, verify and adopt the newest model for `catalog`."""
        from tactful.device.network.model_updates import adopt

        state = self._state_cache.current()
        now = self._now_seconds()
        model_updates = self._model_updates(self._plain_transport())
        self._vault.append("setting", {"refreshed": now})
        update = model_updates.newest(
            catalog, state.newest_version, now, state.checkpoint
        )
        adopt(self._vault, state, update)
        return update.signed.release

    def refresh_due(self) -> datetime | None:
        """Return when to request a model next (UTC), None if nothing is shared.

        Each device adds its own delay.
        """
        from datetime import UTC, datetime

        if self._settings.aggregators is None:
            return None
        last = self._state_cache.without_profile().refreshed
        if not last:
            return datetime.fromtimestamp(self._now_seconds(), UTC)
        interval = 3600 * self._settings.refresh_hours
        delay = int.from_bytes(self._vault.blind(f"refresh {last}")[:4], "big") / 2**32
        due = last + interval * (1 + delay / 4)
        return datetime.fromtimestamp(int(due), UTC)

    def _trusted_state(
        self, purposes: Sequence[str]
    ) -> tuple[DeviceState, tuple[int, int]]:
        """Return the state and ledger time if `purposes` and the ledger permit sharing.

        Raise ConsentMissing or TrustPending.
        """
        state = self._require_consent(purposes)
        waited_ms, now_ms = self._ledger_time()
        state = self._quarantine.require(state, waited_ms, now_ms // 1000)
        return state, (waited_ms, now_ms)

    def _require_consent(self, purposes: Sequence[str]) -> DeviceState:
        """Return the state; raise ConsentMissing for the first missing purpose."""
        state = self._state_cache.current()
        for purpose in purposes:
            state.consent.require(purpose)
        return state

    def _consented_transport(self, purposes: Sequence[str]) -> ConsentedTransport:
        """Return a transport that checks `purposes` before each request."""
        from tactful.device.network.contributor import ConsentedTransport

        def require() -> None:
            consent = self._state_cache.without_profile().consent
            for purpose in purposes:
                consent.require(purpose)

        return ConsentedTransport(self._plain_transport(), self.send_lock, require)

    def _contributor(
        self, transport: Transport, ledger_time: tuple[int, int]
    ) -> Contributor:
        from tactful.device.network.contributor import Contributor

        return Contributor(
            self._vault,
            transport,
            self._aggregators,
            quarantine=self._quarantine,
            ledger_now=ledger_time[1] // 1000,
        )

    @property
    def _aggregators(self) -> Aggregators:
        aggregators = self._settings.aggregators
        if aggregators is None:
            raise InvalidInput(
                "settings.aggregators",
                "no aggregators are configured",
                "set Settings(aggregators=Aggregators(...))",
            )
        return aggregators

    def _model_updates(self, transport: Transport) -> ModelUpdates:
        from tactful.device.network.model_updates import ModelUpdates

        return ModelUpdates(self._aggregators, transport, self._settings.min_batch_size)

    def _plain_transport(self) -> Transport:
        from tactful.device.network.model_updates import default_transport

        self._transport = self._transport or default_transport()
        return self._transport
