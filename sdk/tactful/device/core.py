"""The open device: it wires vault, state, frequency caps, lists and network together.

`Personalizer` and the parts of its API share one `DeviceCore`.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tactful.device.events import TASTES, StoredEvent
from tactful.device.personalizer_arguments import (
    check_model,
    check_optional,
    check_required,
    check_scope,
)
from tactful.errors import InvalidInput, NotStored, VaultDamaged, VaultError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tactful.device.catalog import Catalog, Item
    from tactful.device.clock import Clock
    from tactful.device.consent import Consent, ConsentNotice, Occasion, Restrictions
    from tactful.device.device_key import KeyProvider
    from tactful.device.event_schema import EventSchema
    from tactful.device.events import Event
    from tactful.device.network.model_updates import ActiveModel
    from tactful.device.ranking.list_builder import ListBuilder, ListInputs
    from tactful.device.rights.user_controls import UserControls
    from tactful.device.settings import Settings
    from tactful.device.state.device_state import DeviceState
    from tactful.device.vault.rollback_anchor import RollbackAnchor
    from tactful.learning.model import Model
    from tactful.protocol.transport import Transport

LOG = logging.getLogger("tactful.device")
# Event kinds that frequency caps record without consent to a local profile.
NEEDS_NO_PROFILE = frozenset({"impression", "dismiss", "hide", "report"})
DAY_SECONDS = 86_400


class DeviceCore:
    """One open device. Its methods are for the API above it; apps use `Personalizer`."""

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        *,
        key: KeyProvider,
        consent: Consent | None,
        restrictions: Restrictions | None,
        event_schema: EventSchema | None,
        clock: Clock | None,
        transport: Transport | None,
        model: Model | None,
        rollback_anchor: RollbackAnchor | None,
    ) -> None:
        """Open the vault and record `consent`; see `Personalizer` for the arguments."""
        from tactful.device.clock import SystemClock
        from tactful.device.consent import NOBODY
        from tactful.device.event_schema import built_in
        from tactful.device.vault.recovery import opened

        check_required(catalog, settings, key=key, consent=consent)
        check_optional(restrictions, event_schema, clock, transport, rollback_anchor)
        check_model(model, len(catalog))
        self.settings = settings
        self.restrictions = restrictions or NOBODY
        self.event_schema = event_schema or built_in()
        self.clock = clock or SystemClock()
        # The app's catalog, with the person's own statements on used-up items.
        self.catalog = catalog
        self._app_catalog = catalog
        self._used_up: dict[str, bool] = {}
        self._app_model = model
        self._warned_kinds: set[str] = set()
        # Answers with their circumstances and purposes, in order.
        self._unstored_answers: list[tuple[Consent, Occasion, frozenset[str]]] = []
        self._traces_to_drop = False
        self.vault, self.state_lost = opened(settings.path, key)
        try:
            self._build(consent, transport, rollback_anchor)
        except VaultDamaged:
            # `opened` checks new records only; this one is older. The second call
            # sets the damaged vault aside and returns a new one.
            self.vault.close()
            self.vault, self.state_lost = opened(settings.path, key)
            self._build(consent, transport, rollback_anchor)
        except BaseException:
            self.vault.close()
            raise

    def _build(
        self,
        consent: Consent | None,
        transport: Transport | None,
        rollback_anchor: RollbackAnchor | None,
    ) -> None:
        """Create every part on the open vault, and record `consent`."""
        from tactful.device.caps import CapEngine, Rules
        from tactful.device.consent import PURPOSES, ConsentNotice
        from tactful.device.network.ledger_quarantine import (
            LedgerQuarantine,
            empty_ledger,
        )
        from tactful.device.network.sharing import Sharing
        from tactful.device.rights.consent_controls import ConsentControls
        from tactful.device.rights.user_controls import UserControls
        from tactful.device.state.state_cache import StateCache

        settings = self.settings
        rules = Rules.default() if settings.caps is None else Rules.parse(settings.caps)
        self.state_cache = StateCache(
            self.vault,
            empty_ledger(settings),
            settings,
            lambda: self.restrictions,
            self.now_seconds,
        )
        # Nothing is written to the disk before the person saw a consent notice.
        stored_state = self.state_cache.without_profile()
        was_informed = consent is not None or stored_state.was_informed
        self.caps = CapEngine(
            self.vault, self.clock, rules, caps="store" if was_informed else "memory"
        )
        self.quarantine = LedgerQuarantine(
            self.vault, rollback_anchor, settings.trust_days
        )
        if self.state_lost is not None:
            self.caps.maintenance.record_loss(settings.on_state_loss)
            if was_informed:
                self.quarantine.restart(self.caps.clock.ledger_time()[0])
        self._loaded_model: tuple[int, ActiveModel | None] | None = None
        self._lists: ListBuilder | None = None
        self.sharing = Sharing(
            self.vault,
            settings,
            self.state_cache,
            self.quarantine,
            transport=transport,
            now_seconds=self.now_seconds,
            ledger_time=self.caps.clock.ledger_time,
        )
        if consent is not None:
            occasion = self._occasion(ConsentNotice())
            self._record_answer(consent, occasion, frozenset(PURPOSES), asked=False)
        self._move_caps_where_allowed(self.state_cache.without_profile())
        consent_controls = ConsentControls(
            lambda: self.state_cache.without_profile().consent, self.agree
        )
        self.controls: UserControls = UserControls(
            self.vault, self.caps, rules, self.state_cache, consent_controls
        )

    # Shared by the parts of the API.

    def lists(self) -> tuple[ListBuilder, ListInputs]:
        """Return the list builder and its inputs, read once from the vault."""
        from tactful.device.ranking.list_builder import ListBuilder, ListInputs

        state = self.state_without_profile()
        if state.used_up != self._used_up:
            self._used_up = dict(state.used_up)
            self.catalog = self._app_catalog.corrected(self._used_up)
            self._lists = None
        if self._lists is None:
            self._lists = ListBuilder(
                self.catalog, self.settings, self.vault, self.caps
            )
        self.controls.follow(state.limits)
        active_model = self._active_model(state)
        model, release = self._app_model, None
        if active_model is not None:
            model, release = active_model.model, active_model.release
        inputs = ListInputs(
            state, self.state_cache.profile, model, release, self.now_seconds()
        )
        return self._lists, inputs

    def state_without_profile(self) -> DeviceState:
        """Return the state without the profile; first store what is unstored."""
        self.store_unstored()
        state = self.state_cache.without_profile()
        self._move_caps_where_allowed(state)
        return state

    def model(self) -> Model | None:
        """Return the model that lists use; None before the first one."""
        active_model = self._active_model(self.state_cache.without_profile())
        return self._app_model if active_model is None else active_model.model

    def likes(self, state: DeviceState) -> list[str]:
        """Return the liked items that may be shared, strongest first.

        These are the items of the catalog that are not sensitive.
        """
        liked = state.profile.likes(self.now_ms())
        is_sensitive = self.settings.list_policy.concern
        return [
            item_id
            for item_id in liked
            if item_id in self.catalog and not is_sensitive(self.catalog[item_id])
        ]

    def rebuild(self, erased: int) -> int:
        """Project everything again if records were erased; return `erased`."""
        if erased:
            self.state_cache.reset()
            self.caps.use(self.caps.rules)
            self._lists = None
        return erased

    def unload_model(self) -> None:
        """Unload the model, because its file is about to be erased."""
        self._loaded_model = None

    # Events.

    def record(self, event: Event) -> None:
        """Record an event for the purpose that allows it; ignore it if none does."""
        item = self._item(event)
        check_scope(event, item)
        state = self.state_without_profile()
        if event.kind not in NEEDS_NO_PROFILE:
            state.consent.require("local_profile")
        has_consent = state.consent.allows("local_profile")
        learns = has_consent and self._may_learn(state, item)
        purpose = self._purpose(event.kind, learns=learns)
        if purpose is None:
            return
        try:
            with self.ignoring_erased_reservation(event.reservation_id):
                self.caps.record(event, item, purpose=purpose)
        except NotStored:
            unstored_event = self._unstored_event(event, purpose)
            self.state_cache.unstored_events.append(unstored_event)
            raise

    @contextmanager
    def ignoring_erased_reservation(self, reservation_id: str | None) -> Iterator[None]:
        """Ignore that a reservation is unknown if the person erased it.

        Its list may still be on the screen.
        """
        try:
            yield
        except InvalidInput as error:
            if error.field != "reservation_id" or reservation_id is None:
                raise
            if not self.caps.erased(reservation_id):
                raise

    def _item(self, event: Event) -> Item | None:
        """Return the item of an event; None for an impression of a removed item."""
        from tactful.device import checks
        from tactful.device.events import Event

        checks.instance("event", event, Event, "pass Event(kind=..., item_id=...)")
        if event.item_id is None:
            return None
        if event.kind == "impression" and event.item_id not in self.catalog:
            return None
        return self.catalog[event.item_id]

    def _purpose(self, kind: str, *, learns: bool) -> str | None:
        """Return the purpose under which `kind` is recorded now, None for not at all."""
        if kind not in NEEDS_NO_PROFILE and not learns:
            return None
        if self.event_schema.ends(kind) and self.event_schema.expired(
            kind, self.now_ms()
        ):
            self._warn_expired(kind)
            return None if kind in TASTES else "essential"
        purpose = "local_profile" if learns else "essential"
        self.event_schema.require(kind, purpose)
        return purpose

    def _warn_expired(self, kind: str) -> None:
        """Log once that the declaration of `kind` has ended; log nothing personal."""
        if kind not in self._warned_kinds:
            self._warned_kinds.add(kind)
            LOG.warning(
                "the declaration of event kind %r has ended, so that only frequency "
                "caps count it; review the declaration",
                kind,
            )

    def _may_learn(self, state: DeviceState, item: Item | None) -> bool:
        is_sensitive = item is not None and self.settings.list_policy.concern(item)
        return not (state.paused or is_sensitive)

    def _unstored_event(self, event: Event, purpose: str) -> StoredEvent:
        """Return `event` for the profile, which uses it until the vault has it."""
        return StoredEvent(
            kind=event.kind,
            at_ms=self.now_ms(),
            purpose=purpose,
            item_id=event.item_id,
            value=event.value,
            scope=event.scope,
            surface=event.surface,
        )

    # Consent.

    def agree(
        self, consent: Consent, notice: ConsentNotice, purposes: frozenset[str]
    ) -> None:
        """Record the answer for `purposes`; refusals take effect in any case.

        Of these purposes, each that is not granted is denied. Raise NotStored if the
        vault cannot be written. The answer is then stored with the next write or on
        `close`.
        """
        answer = consent, self._occasion(notice), purposes
        self._unstored_answers.append(answer)
        denied = purposes - consent.granted - {"essential"}
        refusals = denied | (consent.refused & purposes)
        earlier = self.state_cache.unstored_refusals - purposes
        self.state_cache.unstored_refusals = earlier | refusals
        try:
            self._store_answers()
        except VaultDamaged:
            raise
        except VaultError as vault_error:
            # Wait until no request is on its way. Later ones find the refusal.
            with suppress(OSError), self.sharing.send_lock.exclusive():
                pass
            raise NotStored.of("consent", vault_error) from vault_error

    def store_unstored(self) -> None:
        """Try again to store answers and refusals that the vault could not store."""
        if self._unstored_answers:
            try:
                self._store_answers()
            except VaultDamaged:
                raise
            except VaultError:
                LOG.warning(
                    "a consent answer is not stored yet; it is in force in this process"
                )
        if self.caps.waiting:
            self.caps.store_unstored()
        if self.state_cache.unstored_events and not self.caps.waiting:
            self.state_cache.unstored_events.clear()

    def close(self) -> None:
        """Close the vault; raise NotStored if an answer or refusal cannot be stored."""
        self.store_unstored()
        self.vault.close()
        if self._unstored_answers or self.caps.waiting:
            raise NotStored(
                "close: an answer or refusal of the person could not be stored and is "
                "lost; free disk space and ask the person again"
            )

    def _move_caps_where_allowed(self, state: DeviceState) -> None:
        """Count impressions in the vault if the person was informed and did not refuse.

        Otherwise count them in memory.
        """
        may_store = state.was_informed and state.consent.allows("essential")
        if may_store and self.caps.memory_only:
            self.caps.move_to_vault(self.vault)
        elif state.was_informed and not may_store and not self.caps.memory_only:
            self.caps.move_to_memory()

    def _store_answers(self) -> None:
        """Store the answers that are not stored yet, and act on them."""
        if not self._unstored_answers:
            return
        while self._unstored_answers:
            consent, occasion, purposes = self._unstored_answers[0]
            self._record_answer(consent, occasion, purposes, asked=True)
            self._mark_noticed()
            del self._unstored_answers[0]
        self.state_cache.unstored_refusals = frozenset()
        self._move_caps_where_allowed(self.state_cache.without_profile())

    def _mark_noticed(self) -> None:
        """Record that the person saw a notice, so that impressions may be stored."""
        if self.caps.memory_only and not self.state_cache.without_profile().noticed:
            self.vault.append("setting", {"noticed": True}, durable=True)

    def _record_answer(
        self,
        consent: Consent,
        occasion: Occasion,
        purposes: frozenset[str],
        *,
        asked: bool,
    ) -> None:
        from tactful.device.network.withdrawal import record_answer
        from tactful.device.state.removal import drop_traces

        ended = record_answer(
            self.vault,
            self.sharing.send_lock,
            self.state_cache.last,
            consent,
            occasion,
            purposes,
            asked=asked,
        )
        self._traces_to_drop = self._traces_to_drop or "diagnostics" in ended
        if self._traces_to_drop:
            drop_traces(self.vault)
            self._traces_to_drop = False

    def _occasion(self, notice: ConsentNotice) -> Occasion:
        """Return the circumstances of an answer that is given now."""
        from tactful.device.consent import Occasion

        return Occasion(
            shown=notice,
            at=self.now_seconds(),
            policy_version=self.settings.policy_version,
            in_force=self.restrictions.in_force,
        )

    # Model and time.

    def _active_model(self, state: DeviceState) -> ActiveModel | None:
        """Return the adopted model; load each file once."""
        from tactful.device.network.model_updates import load

        adoption = state.adoption
        if adoption is None:
            return None
        if self._loaded_model is None or self._loaded_model[0] != adoption.file:
            active_model = load(self.vault, adoption, self.catalog)
            self._loaded_model = adoption.file, active_model
        return self._loaded_model[1]

    def day_number(self) -> int:
        """Return the day by the wall clock, in days since 1970."""
        return self.now_seconds() // DAY_SECONDS

    def now_seconds(self) -> int:
        """Return the wall clock in unix seconds; it dates consent, tasks and releases."""
        return self.clock.reading().wall_ms // 1000

    def now_ms(self) -> int:
        """Return canonical time in unix milliseconds; it dates events.

        A changed wall clock does not alter it, so interests fade at the same rate.
        """
        return self.caps.clock.now_ms()
