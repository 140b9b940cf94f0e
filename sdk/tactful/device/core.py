"""The open device: vault, state, frequency caps, lists, network and what connects them.

`Personalizer` and the parts of its API share one `DeviceCore`.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tactful.device.events import TASTES, StoredEvent
from tactful.device.personalizer_arguments import (
    require_model,
    require_others,
    require_parts,
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
        """Open the vault and record `consent`; `Personalizer` documents the arguments."""
        from tactful.device.clock import SystemClock
        from tactful.device.consent import NOBODY
        from tactful.device.event_schema import built_in
        from tactful.device.vault.recovery import opened

        require_parts(catalog, settings, key=key, consent=consent)
        require_others(restrictions, event_schema, clock, transport, rollback_anchor)
        require_model(model, len(catalog))
        self.settings = settings
        self.restrictions = restrictions or NOBODY
        self.event_schema = event_schema or built_in()
        self.clock = clock or SystemClock()
        self.catalog = catalog
        self._shipped_model = model
        self._catalog_of_app = catalog
        self._used_up: dict[
            str, bool
        ] = {}  # what the person said of items that run out
        self._warned_kinds: set[str] = set()
        self._unstored_answer: tuple[Consent, Occasion] | None = None
        self._traces_to_drop = False
        self.vault, self.state_lost = opened(settings.path, key)
        try:
            self._build(consent, transport, rollback_anchor)
        except VaultDamaged:
            # An old record, which `opened` does not read: set the vault aside and start anew.
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
        """Build every part on the open vault, and record `consent`."""
        from tactful.device.caps import CapEngine, Rules
        from tactful.device.consent import ConsentNotice
        from tactful.device.network.ledger_quarantine import LedgerQuarantine, caps
        from tactful.device.network.sharing import Sharing
        from tactful.device.rights.user_controls import UserControls
        from tactful.device.state.state_cache import StateCache

        settings = self.settings
        rules = Rules.default() if settings.caps is None else Rules.parse(settings.caps)
        self.state_cache = StateCache(
            self.vault,
            caps(settings),
            settings,
            lambda: self.restrictions,
            self.now_seconds,
        )
        # Before the person saw a consent notice nothing is written to the disk.
        was_informed = consent is not None or self.state_cache.settled().told
        self.caps = CapEngine(
            self.vault, self.clock, rules, caps="store" if was_informed else "memory"
        )
        self.quarantine = LedgerQuarantine(
            self.vault, rollback_anchor, settings.trust_days
        )
        if self.state_lost is not None:
            self.caps.lost(settings.on_state_loss)
            if was_informed:
                self.quarantine.put_back(self.caps.ledger_time()[0])
        self._loaded_model: tuple[int, ActiveModel | None] | None = None
        self._lists: ListBuilder | None = None
        self.sharing = Sharing(
            self.vault,
            settings,
            self.state_cache,
            self.quarantine,
            transport=transport,
            now_seconds=self.now_seconds,
            ledger_time=self.caps.ledger_time,
        )
        if consent is not None:
            self._record_answer(consent, self._occasion(ConsentNotice()), asked=False)
        self._count_where_allowed(self.state_cache.settled())
        self.controls: UserControls = UserControls(
            self.vault, self.caps, rules, self.state_cache
        )

    # what the verbs of the API share

    def lists(self) -> tuple[ListBuilder, ListInputs]:
        """Return what makes lists, and what is known now, read once from the vault."""
        from tactful.device.ranking.list_builder import ListBuilder, ListInputs

        state = self.settled()
        if state.used_up != self._used_up:
            self._used_up, self._lists = dict(state.used_up), None
            self.catalog = self._catalog_of_app.corrected(self._used_up)
        if self._lists is None:
            self._lists = ListBuilder(
                self.catalog, self.settings, self.vault, self.caps
            )
        self.controls.follow(state.limits)
        active = self._active_model(state)
        model = self._shipped_model if active is None else active.model
        release = None if active is None else active.release
        inputs = ListInputs(
            state, self.state_cache.profile, model, release, self.now_seconds()
        )
        return self._lists, inputs

    def settled(self) -> DeviceState:
        """Return the state without the profile, after retrying what was not stored yet."""
        self.store_waiting()
        state = self.state_cache.settled()
        self._count_where_allowed(state)
        return state

    def model(self) -> Model | None:
        """Return the model that lists are made with; None before the first."""
        active = self._active_model(self.state_cache.settled())
        return self._shipped_model if active is None else active.model

    def likes(self) -> list[str]:
        """Return the liked items of the catalog that are not sensitive, strongest first."""
        liked = self.state_cache.whole().profile.likes(self.now_ms())
        is_sensitive = self.settings.list_policy.concern
        return [
            item_id
            for item_id in liked
            if item_id in self.catalog and not is_sensitive(self.catalog[item_id])
        ]

    def rebuild(self, erased: int) -> int:
        """Rebuild every projection if records were erased; return `erased`."""
        if erased:
            self.state_cache.begin_anew()
            self.caps.use(self.caps.rules)
            self._lists = None
        return erased

    def forget_model(self) -> None:
        """Unload the model; its file is about to be erased."""
        self._loaded_model = None

    # events

    def record(self, event: Event) -> None:
        """Record an event under the purpose that allows it; drop it if none does."""
        from tactful.device.personalizer_arguments import require_scope

        item = self._item(event)
        require_scope(event, item)
        state = self.settled()
        if event.kind not in NEEDS_NO_PROFILE:
            state.consent.require("local_profile")
        learns = state.consent.allows("local_profile") and self._may_learn(state, item)
        purpose = self._purpose(event.kind, learns=learns)
        if purpose is None:
            return
        try:
            with self.unless_erased(event.reservation_id):
                self.caps.record(event, item, purpose=purpose)
        except NotStored:
            self.state_cache.unstored.append(self._unstored(event, purpose))
            raise

    @contextmanager
    def unless_erased(self, reservation_id: str | None) -> Iterator[None]:
        """Ignore an unknown reservation if it was erased: the list was still on the screen."""
        try:
            yield
        except InvalidInput as unknown:
            erased = reservation_id is not None and self.caps.erased(reservation_id)
            if unknown.field != "reservation_id" or not erased:
                raise

    def _item(self, event: Event) -> Item | None:
        """Return what the event is about; None for an impression of a removed item."""
        from tactful.device import checks
        from tactful.device.events import Event

        checks.instance("event", event, Event, "hand in Event(kind=..., item_id=...)")
        is_gone = event.item_id is None or event.item_id not in self.catalog
        if is_gone and (event.item_id is None or event.kind == "impression"):
            return None
        return self.catalog[event.item_id or ""]

    def _purpose(self, kind: str, *, learns: bool) -> str | None:
        """Return the purpose that `kind` is recorded for now, None if it is not recorded."""
        if kind not in NEEDS_NO_PROFILE and not learns:
            return None
        if self.event_schema.expired(kind, self.now_ms()):
            self._warn_expired(kind)
            return None if kind in TASTES else "essential"
        purpose = "local_profile" if learns else "essential"
        self.event_schema.require(kind, purpose)
        return purpose

    def _warn_expired(self, kind: str) -> None:
        """Log once that the declaration of `kind` has ended, and nothing of the person."""
        if kind not in self._warned_kinds:
            self._warned_kinds.add(kind)
            LOG.warning(
                "the declaration of %r has ended; only limits count it: review it", kind
            )

    def _may_learn(self, state: DeviceState, item: Item | None) -> bool:
        is_sensitive = item is not None and self.settings.list_policy.concern(item)
        return not (state.paused or is_sensitive)

    def _unstored(self, event: Event, purpose: str) -> StoredEvent:
        """Return `event` as the profile reads it, until the vault has it."""
        return StoredEvent(
            kind=event.kind,
            at_ms=self.now_ms(),
            purpose=purpose,
            item_id=event.item_id,
            value=event.value,
            scope=event.scope,
            surface=event.surface,
        )

    # consent

    def agree(self, consent: Consent, notice: ConsentNotice) -> None:
        """Record an answer; in this process it holds even if the vault cannot be written.

        Raise NotStored in that case. The answer is stored with the next write or on `close`.
        """
        from tactful.device.consent import PURPOSES

        self._unstored_answer = consent, self._occasion(notice)
        denied = frozenset(PURPOSES) - consent.granted - {"essential"}
        self.state_cache.withheld = denied | (consent.refused & {"essential"})
        try:
            self._store_answer()
        except VaultDamaged:
            raise
        except VaultError as refused:
            # Wait for what is being sent; nothing starts to be sent afterwards.
            with suppress(OSError), self.sharing.sending.withdrawing():
                pass
            raise NotStored.of("consent", refused) from refused

    def store_waiting(self) -> None:
        """Try again to store what the person said and the vault refused."""
        if self._unstored_answer is not None:
            try:
                self._store_answer()
            except VaultDamaged:
                raise
            except VaultError:
                LOG.warning(
                    "an answer of the person is not stored yet; it holds in this process"
                )
        if self.caps.waiting:
            self.caps.store_waiting()
        if self.state_cache.unstored and not self.caps.waiting:
            self.state_cache.unstored.clear()

    def close(self) -> None:
        """Close the vault; raise NotStored if an answer or a refusal cannot be stored."""
        self.store_waiting()
        self.vault.close()
        if self._unstored_answer is not None or self.caps.waiting:
            raise NotStored(
                "close: what the person said could not be stored, and ended with this "
                "process; make room and ask them again"
            )

    def _count_where_allowed(self, state: DeviceState) -> None:
        """Count shows in the vault once the person was told, unless they refused it."""
        stored = state.told and state.consent.allows("essential")
        if stored and self.caps.memory_only:
            self.caps.keep(self.vault)
        elif state.told and not stored and not self.caps.memory_only:
            self.caps.leave_vault()

    def _store_answer(self) -> None:
        """Store the answer that waits, and act on it."""
        if self._unstored_answer is None:
            return
        consent, occasion = self._unstored_answer
        self._record_answer(consent, occasion, asked=True)
        if self.caps.memory_only and not self.state_cache.settled().noticed:
            self.vault.append("setting", {"noticed": True}, durable=True)
        self._unstored_answer, self.state_cache.withheld = None, frozenset()
        self._count_where_allowed(self.state_cache.settled())

    def _record_answer(
        self, consent: Consent, occasion: Occasion, *, asked: bool
    ) -> None:
        from tactful.device.network.contributor import answer

        lock, last = self.sharing.sending, self.state_cache.last
        ended = answer(self.vault, lock, last, consent, occasion, asked=asked)
        self._traces_to_drop = self._traces_to_drop or "diagnostics" in ended
        if self._traces_to_drop:
            self.state_cache.drop_traces()
            self._traces_to_drop = False

    def _occasion(self, notice: ConsentNotice) -> Occasion:
        """Return now as the time of an answer, with who else has spoken."""
        from tactful.device.consent import Occasion

        return Occasion(
            shown=notice,
            at=self.now_seconds(),
            policy_version=self.settings.policy_version,
            in_force=self.restrictions.in_force,
        )

    # models and time

    def _active_model(self, state: DeviceState) -> ActiveModel | None:
        """Return the adopted model, loaded once for each file."""
        from tactful.device.network.model_updates import load

        adoption = state.adoption
        if adoption is None:
            return None
        if self._loaded_model is None or self._loaded_model[0] != adoption.file:
            active = load(self.vault, adoption, self.catalog)
            self._loaded_model = adoption.file, active
        return self._loaded_model[1]

    def day_number(self) -> int:
        """Return the day by the wall clock, in days since 1970."""
        return self.now_seconds() // DAY_SECONDS

    def now_seconds(self) -> int:
        """Return the wall clock, in unix seconds; answers, tasks and releases are dated by it."""
        return self.clock.reading().wall_ms // 1000

    def now_ms(self) -> int:
        """Return the time that events are dated by, in unix milliseconds.

        Interests fade by it, however the clock is set.
        """
        return self.caps.now_ms()
