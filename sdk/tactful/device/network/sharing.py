"""The outbound and the inbound loop of one device: reports that leave, models that come."""

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


class Sharing:
    """Everything that reaches the network; consent is asked before each byte leaves."""

    def __init__(
        self,
        vault: Vault,
        settings: Settings,
        past: StateCache,
        trust: LedgerQuarantine,
        *,
        transport: Transport | None,
        now_seconds: Callable[[], int],
        ledger_time: Callable[[], tuple[int, int]],
    ) -> None:
        """`ledger_time` is that of the engine, which no clock of app or operator can hasten."""
        from tactful.device.network.send_lock import SendLock

        self.sending: SendLock = SendLock(vault.path)
        self._vault, self._settings, self._past, self._trust = (
            vault,
            settings,
            past,
            trust,
        )
        self._transport, self._now, self._ledger_time = (
            transport,
            now_seconds,
            ledger_time,
        )

    def contribute(
        self, likes: Callable[[], Sequence[str]], catalog: Catalog
    ) -> Contribution:
        """Send one report of `likes` for the open round, charged first; once for each round."""
        from tactful.device.measurement import measure

        self._require_sharing()
        now, (memory, ledger_time) = self._now(), self._trusted()
        carrier = self._consented(self._require_sharing)
        here = self._feed(carrier).open_round(now)
        self._trust.require_new(here.task.opens, memory, ledger_time, now)
        vector = measure(list(likes()), catalog, here.task, here.guide)
        contributor = self._contributor(carrier, ledger_time[1] // 1000)
        return contributor.contribute(here.task, vector, memory, now)

    def cover(self) -> Contribution:
        """Send zeros to the open round, once; it costs nothing."""
        from tactful.device.network.contributor import Contributor

        self._require_cover()
        now, memory = self._now(), self._past.whole()
        carrier = self._consented(self._require_cover)
        task = self._feed(carrier).open_round(now).task
        return Contributor(self._vault, carrier, self._pair).cover(task, memory, now)

    def contribute_to(self, experiment: Experiment) -> Contribution | None:
        """Add what this device counted to the open period, once; None until it was measured."""
        from tactful.device.experiments import claim, standing, vector

        self._require_metrics()
        now, (memory, ledger_time) = self._now(), self._trusted()
        known = standing(self._vault, now)
        added = vector(self._past.events(), experiment, known, now // DAY_SECONDS)
        if added is None:
            return None
        carrier = self._consented(self._require_metrics)
        task = self._feed(carrier).open_period(experiment, now)
        self._trust.require_new(task.opens, memory, ledger_time, now)
        if not claim(self._vault, experiment, task.id.hex()):
            return None
        contributor = self._contributor(carrier, ledger_time[1] // 1000)
        return contributor.contribute(task, added, memory, now)

    def refresh(self, catalog: Catalog) -> ModelRelease:
        """Fetch, verify and adopt the newest model for `catalog`."""
        from tactful.device.network.model_updates import adopt

        memory, now = self._past.whole(), self._now()
        feed = self._feed(self._carrier())
        self._vault.append("setting", {"refreshed": now})
        found = feed.newest(catalog, memory.newest, now, memory.checkpoint)
        adopt(self._vault, memory, found)
        return found.signed.release

    def refresh_due(self) -> datetime | None:
        """When to ask for a model next, UTC, with a delay of this device's own; None for never."""
        from datetime import UTC, datetime

        if self._settings.aggregators is None:
            return None
        last, every = (
            self._past.settled().refreshed,
            3600 * self._settings.refresh_hours,
        )
        delay = int.from_bytes(self._vault.blind(f"refresh {last}")[:4], "big") / 2**32
        due = last + every * (1 + delay / 4) if last else self._now()
        return datetime.fromtimestamp(int(due), UTC)

    def _trusted(self) -> tuple[DeviceState, tuple[int, int]]:
        """The memory, once its ledger may be relied on, and the ledger's time."""
        waited_ms, now_ms = self._ledger_time()
        memory = self._trust.require(self._past.whole(), waited_ms, now_ms // 1000)
        return memory, (waited_ms, now_ms)

    def _require_cover(self) -> None:
        self._past.whole().consent.require("cover_traffic")

    def _require_metrics(self) -> None:
        consent = self._past.whole().consent
        consent.require("experiments")
        consent.require("share_dp_metrics")

    def _require_sharing(self) -> None:
        self._past.whole().consent.require("share_dp_updates")

    def _consented(self, require: Callable[[], None]) -> ConsentedTransport:
        from tactful.device.network.contributor import ConsentedTransport

        return ConsentedTransport(self._carrier(), self.sending, require)

    def _contributor(self, carrier: Transport, ledger_now: int) -> Contributor:
        from tactful.device.network.contributor import Contributor

        return Contributor(
            self._vault, carrier, self._pair, trust=self._trust, ledger_now=ledger_now
        )

    @property
    def _pair(self) -> Aggregators:
        pair = self._settings.aggregators
        if pair is None:
            raise InvalidInput(
                "settings.aggregators", "there are none", "name the pair to share with"
            )
        return pair

    def _feed(self, carrier: Transport) -> ModelUpdates:
        from tactful.device.network.model_updates import ModelUpdates

        return ModelUpdates(self._pair, carrier, self._settings.min_batch_size)

    def _carrier(self) -> Transport:
        from tactful.device.network.model_updates import default_transport

        self._transport = self._transport or default_transport()
        return self._transport
