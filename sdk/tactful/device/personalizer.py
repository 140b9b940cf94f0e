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

    Every answer is computed on the device. Only `me.sharing` and `me.experiments` use the
    network, and only if `settings` names aggregators and the person agreed. Several processes
    may open the same vault.

        me.observe(event)           record what happened
        me.recommend(n)             a list, with reasons and reservations
        me.release(pick)            give back a pick that was not shown
        me.agree(consent, notice)   record the person's answer
        me.controls                 balance, limits, mutes, pause, undo
        me.explain                  interests, why_not, preview, trace, replay, metrics
        me.rights                   events, data_report, export, erase, forget
        me.sharing                  contribute, refresh, lifetime, evidence
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
        """Open the device.

        `consent` answers what was not answered yet, and may withdraw; what the person refused
        only `agree` grants again. None leaves every answer as it is; before the first answer
        nothing is written. `restrictions` are other parties who may say no: system, browser,
        law. `event_schema` declares what may be recorded, the built-in kinds if None. `model`
        is one that the app ships; it is used until a release is adopted. `rollback_anchor`
        knows what was spent before a reinstall or a restored backup.

        Raises WrongKey, VaultForeign, VaultError, InvalidInput. `state_lost` says afterwards
        what was lost if the vault was damaged, missing or older than before.
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

    # lists and events

    def observe(self, event: Event) -> None:
        """Record an event; an impression confirms its reservation.

        Nothing is learnt while the person paused learning, of sensitive items, or from a kind
        whose declaration has ended; frequency caps still count it. Raises ConsentMissing
        without consent to a local profile (impressions and refusals need none), InvalidInput
        for an item that is not in the catalog or a kind that is not declared, NotStored if
        the disk is full and a refusal holds in this process only.
        """
        self._core.record(event)

    def observe_many(self, events: Iterable[Event]) -> None:
        """Record events in order, as `observe` does; those before an error stay recorded."""
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
        """Return up to `n` items, each with reasons and a reservation to show it once.

        `balance`, 0 to 1, can only lower what app and person allow; 0 is the standard list.
        `diversity`, 0 to 1, replaces the one of the settings. `exclude` names items that
        cannot be offered now, to anyone. `missing` has a reason for each place that is not
        filled. Raises InvalidInput for arguments that are out of range.
        """
        from tactful.device.ranking.list_builder import ListRequest, excluded

        request = ListRequest(
            n, surface, balance, excluded(exclude), diversity=diversity
        )
        lists, inputs = self._core.lists()
        return lists.recommend(request, inputs, self._core.now_ms())

    def release(self, pick: Pick) -> None:
        """Give back a pick that was not shown; its reservation no longer counts."""
        from tactful.device.ranking.results import Pick

        checks.instance("pick", pick, Pick, "give back one of `recommend`")
        with self._core.ignoring_erased_reservation(pick.reservation_id):
            self._core.caps.release(pick.reservation_id)

    # the person's answer, and the parts of the API

    def agree(self, consent: Consent, notice: ConsentNotice | None = None) -> None:
        """Record the person's answer to a notice; every purpose not granted is denied.

        When it returns, nothing that was withdrawn is on its way or waits to be sent. Raises
        NotStored if the vault cannot be written: in this process the answer holds all the
        same, and it is stored with the next write or on `close`.
        """
        from tactful.device.consent import PURPOSES, Consent, ConsentNotice

        checks.instance("consent", consent, Consent, "hand in Consent.to(...)")
        answered = ConsentNotice() if notice is None else notice
        fix = "hand in ConsentNotice(text=...), or None"
        checks.instance("notice", answered, ConsentNotice, fix)
        self._core.agree(consent, answered, frozenset(PURPOSES))

    @property
    def controls(self) -> UserControls:
        """The person's settings: balance, interests, limits, mutes, pause, undo."""
        return self._core.controls

    @property
    def explain(self) -> ExplainApi:
        """Explanations of lists and interests; no side effects."""
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

    # what is known now

    @property
    def catalog(self) -> Catalog:
        """The catalog, with what the person said of items that run out."""
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
        """Other parties who may say no; the app may replace them at any time."""
        return self._core.restrictions

    @restrictions.setter
    def restrictions(self, restrictions: Restrictions) -> None:
        self._core.restrictions = restrictions

    @property
    def status(self) -> DeviceState:
        """The state projected from the vault now: consent, ledger, profile, adopted model."""
        return self._core.state_cache.current()

    @property
    def state_lost(self) -> str | None:
        """The loss if the vault was damaged, missing or older than before; else None."""
        return self._core.state_lost

    @property
    def model(self) -> Model | None:
        """The model that lists are made with; None before the first."""
        return self._core.model()

    def close(self) -> None:
        """Close the vault; raises NotStored if an answer or refusal cannot be stored."""
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
