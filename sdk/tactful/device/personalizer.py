"""The object that an app holds: it wires the parts of the device together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from tactful.device import checks
from tactful.device.core import DeviceCore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from tactful.device.api.experiments import ExperimentsApi
    from tactful.device.api.explain import ExplainApi
    from tactful.device.api.rights import RightsApi
    from tactful.device.api.sharing import SharingApi
    from tactful.device.catalog import Catalog
    from tactful.device.clock import Clock
    from tactful.device.consent import Consent, ConsentNotice, Restrictions
    from tactful.device.device_key import KeyProvider
    from tactful.device.event_schema import EventSchema
    from tactful.device.events import Event
    from tactful.device.ranking.results import Pick, Picks
    from tactful.device.rights.user_controls import UserControls
    from tactful.device.settings import Settings
    from tactful.device.state.device_state import DeviceState
    from tactful.device.vault.rollback_anchor import RollbackAnchor
    from tactful.learning.model import Model
    from tactful.protocol.transport import Transport


class Personalizer:
    """Personalization for one person on one device.

    All lists are computed on the device. Only `me.sharing` and `me.experiments` use the
    network, and only if the settings name aggregators and the person agreed. Several
    threads and processes can use one vault at the same time.

        me.observe(event)           record an event
        me.observe_many(events)     record several events
        me.recommend(n)             return a list of items with reasons
        me.release(pick)            release the reservation of an item that was not shown
        me.agree(consent, notice)   record the person's answer to a consent notice
        me.status                   consent, ledger, profile and adopted model
        me.controls                 balance, interests, limits, mutes, pause, undo, consent
        me.explain                  interests, why_not, preview, trace, replay, metrics
        me.rights                   events, data_report, export, erase, forget, purge_expired
        me.sharing                  contribute, cover, refresh, lifetime, ledger_evidence
        me.experiments              variant, log_exposure, contribute
    """

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        *,
        key: KeyProvider,
        consent: Consent | None,
        restrictions: Restrictions | None = None,
        event_schema: EventSchema | None = None,
        clock: Clock | None = None,
        transport: Transport | None = None,
        model: Model | None = None,
        rollback_anchor: RollbackAnchor | None = None,
    ) -> None:
        """Open the vault at `settings.path`, or create it.

        - `catalog`: all items that can be shown.
        - `key`: the source of the vault's key.
        - `consent`: the person's answers. It grants purposes without an answer and
          withdraws others. It does not grant a purpose again that the person refused;
          only `agree` does. None changes no answer. Before the first answer, nothing is
          written to disk.
        - `restrictions`: settings of the system, the browser or the law that can restrict
          consent.
        - `event_schema`: the declared kinds of events; None means the built-in kinds.
        - `clock`, `transport`: replacements for tests.
        - `model`: a model that the app ships. It is used until a release is adopted.
        - `rollback_anchor`: a store outside the vault that detects a reinstall or a
          restored backup, so that spent privacy budget is not spent again.

        Raise WrongKey, VaultForeign, VaultError or InvalidInput. If the vault was damaged,
        lost or older than before, open an empty one and describe the loss in `state_lost`.
        """
        self._core = DeviceCore(
            catalog,
            settings,
            key=key,
            consent=consent,
            restrictions=restrictions,
            event_schema=event_schema,
            clock=clock,
            transport=transport,
            model=model,
            rollback_anchor=rollback_anchor,
        )

    def observe(self, event: Event) -> None:
        """Record an event; an impression confirms its reservation.

        The same `event_id` is recorded once. The profile does not learn from an event if
        learning is paused, if the item is sensitive, or if the declaration of the kind has
        expired. Frequency caps count the event in all these cases.

        Raise ConsentMissing if the person did not agree to a local profile; impressions,
        hides, dismissals and reports need no consent. Raise InvalidInput for an unknown
        item or an undeclared kind. Raise NotStored if the disk is full; a hide, report or
        dismissal then still takes effect in this process.
        """
        self._core.record(event)

    def observe_many(self, events: Iterable[Event]) -> None:
        """Record events in order, as `observe` does.

        Events before one that raises an error stay recorded.
        """
        for event in events:
            self.observe(event)

    def recommend(
        self,
        n: int,
        *,
        surface: str = "home",
        balance: float | None = None,
        diversity: float | None = None,
        exclude: Iterable[str] = (),
    ) -> Picks:
        """Return up to `n` items, best first, each with reasons and a reservation.

        - `surface`: the place in the app that shows the list.
        - `balance`: the personal share of the list, 0 to 1. It can only lower the share
          that the app and the person allow. 0 gives the standard list.
        - `diversity`: 0 to 1; replaces the diversity of the settings.
        - `exclude`: ids of items that nobody can get now, for example sold-out items.

        `Picks.missing` has a reason for each place that is not filled. Observe
        `pick.impression()` for each item that is shown, and `release` the others. If you
        do neither, the item counts as shown when its reservation expires. Raise
        InvalidInput for an argument that is out of range.
        """
        from tactful.device.ranking.list_builder import ListRequest, excluded

        request = ListRequest(
            n, surface, balance, excluded(exclude), diversity=diversity
        )
        lists, inputs = self._core.lists()
        return lists.recommend(request, inputs, self._core.now_ms())

    def release(self, pick: Pick) -> None:
        """Release the reservation of a pick that was not shown, so that it does not count."""
        from tactful.device.ranking.results import Pick

        checks.instance("pick", pick, Pick, "pass a pick of `recommend`")
        with self._core.ignoring_erased_reservation(pick.reservation_id):
            self._core.caps.release(pick.reservation_id)

    def agree(self, consent: Consent, notice: ConsentNotice | None = None) -> None:
        """Record the person's answer to a consent notice.

        Purposes that `consent` does not grant are denied. When this returns, no report for
        a withdrawn purpose is queued or being sent. Raise NotStored if the vault cannot be
        written; the answer then still takes effect in this process, and is stored with the
        next write or by `close`. Raise TransportError if a request that is being sent does
        not end within 75 seconds; the answer is stored.
        """
        from tactful.device.consent import PURPOSES, Consent, ConsentNotice

        checks.instance("consent", consent, Consent, "pass Consent.to(...)")
        answered = ConsentNotice() if notice is None else notice
        fix = "pass ConsentNotice(text=...), or None"
        checks.instance("notice", answered, ConsentNotice, fix)
        self._core.agree(consent, answered, frozenset(PURPOSES))

    @property
    def controls(self) -> UserControls:
        """The person's settings: balance, interests, limits, mutes, pause, undo, consent."""
        return self._core.controls

    @property
    def explain(self) -> ExplainApi:
        """Explanations of lists and interests; they have no side effects."""
        from tactful.device.api.explain import ExplainApi

        return ExplainApi(self._core)

    @property
    def rights(self) -> RightsApi:
        """The person's data: read, export, erase."""
        from tactful.device.api.rights import RightsApi

        return RightsApi(self._core)

    @property
    def sharing(self) -> SharingApi:
        """Contributions and model updates; the only part that sends anything."""
        from tactful.device.api.sharing import SharingApi

        return SharingApi(self._core)

    @property
    def experiments(self) -> ExperimentsApi:
        """A/B tests that are drawn and measured on the device."""
        from tactful.device.api.experiments import ExperimentsApi

        return ExperimentsApi(self._core)

    @property
    def catalog(self) -> Catalog:
        """The catalog, with the items that the person marked as replenishable."""
        return self._core.catalog

    @property
    def settings(self) -> Settings:
        """The app's settings."""
        return self._core.settings

    @property
    def event_schema(self) -> EventSchema:
        """The declared kinds of events."""
        return self._core.event_schema

    @property
    def restrictions(self) -> Restrictions:
        """Restrictions by the system, the browser or the law; the app can replace them."""
        return self._core.restrictions

    @restrictions.setter
    def restrictions(self, restrictions: Restrictions) -> None:
        self._core.restrictions = restrictions

    @property
    def status(self) -> DeviceState:
        """The current state: consent, ledger, profile and adopted model."""
        return self._core.state_cache.current()

    @property
    def state_lost(self) -> str | None:
        """The description of a loss if the vault was damaged, lost or restored; else None."""
        return self._core.state_lost

    @property
    def model(self) -> Model | None:
        """The model in use; None if there is none."""
        return self._core.model()

    def close(self) -> None:
        """Close the vault; raise NotStored if an answer or refusal could not be stored."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
