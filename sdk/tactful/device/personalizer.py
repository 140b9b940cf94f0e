"""The one object an app holds; wiring only."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from tactful.device import given
from tactful.device.events import TASTES, StoredEvent
from tactful.device.handed_in import (
    require_experiment,
    require_model,
    require_others,
    require_parts,
    require_scope,
)
from tactful.errors import InvalidInput, NotStored, VaultDamaged, VaultError

if TYPE_CHECKING:
    import datetime as clocks
    from collections.abc import Iterable, Iterator
    from datetime import timedelta
    from types import TracebackType

    from tactful.device.anchor import LedgerAnchor
    from tactful.device.catalog import Catalog, Item
    from tactful.device.clock import Clock
    from tactful.device.consent import Consent, Occasion, Restrictions, Shown
    from tactful.device.contributor import Contribution
    from tactful.device.data_ledger import Entry
    from tactful.device.device_key import KeyProvider
    from tactful.device.erasure import Part
    from tactful.device.events import Event
    from tactful.device.memory import Disclosure, Memory
    from tactful.device.model_feed import InUse
    from tactful.device.ranking.interests import Interest
    from tactful.device.ranking.lists import Known, Lists
    from tactful.device.ranking.measures import Measures
    from tactful.device.ranking.picks import Foreseen, Pick, Picks, WhyNot
    from tactful.device.ranking.trace import Explained, Replay
    from tactful.device.settings import Settings
    from tactful.device.signals import Registry
    from tactful.learning.model import Model
    from tactful.privacy.lifetime import Lifetime
    from tactful.protocol.experiment import Arm, Experiment
    from tactful.protocol.model import ModelRelease
    from tactful.protocol.transport import Transport

LOG = logging.getLogger("tactful.device")
MOST_AHEAD = 36_500  # days that a preview may look ahead
NEEDS_NO_PROFILE = frozenset({"impression", "dismiss", "hide", "report"})


class Personalizer:
    """One person's device: five verbs, and what explains them.

    Every answer is computed here; only `contribute` and `refresh` reach the network, and only if
    `settings` names a pair of aggregators. Several processes may open the same vault.
    """

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        *,
        key: KeyProvider,
        consent: Consent | None,
        restrictions: Restrictions | None = None,
        signals: Registry | None = None,
        clock: Clock | None = None,
        transport: Transport | None = None,
        model: Model | None = None,
        anchor: LedgerAnchor | None = None,
    ) -> None:
        """Open the device; `model` is one that the app ships, until a release is adopted.

        `anchor` tells after a reinstall or restore what was spent before. A device waits
        `settings.trust_days` before it contributes, with one or without.

        `consent` answers what was not answered yet, and may take back; what the person refused
        here only `agree` grants. None leaves every answer as it is; if there is none yet, nothing
        is written until the first. `restrictions` are who else
        may say no: system, browser, law. `signals` declares what may be recorded, the built-in ones
        if None. Afterwards `state_lost` says what was lost if the vault was damaged, gone or older
        than it had been; None if nothing was.
        """
        from tactful.device.clock import SystemClock
        from tactful.device.consent import NOBODY
        from tactful.device.signals import built_in
        from tactful.device.vault.recovery import opened

        require_parts(catalog, settings, key=key, consent=consent)
        require_others(restrictions, signals, clock, transport, anchor)
        require_model(model, len(catalog))
        self.settings, self._shipped = settings, model
        self.restrictions, self.signals = restrictions or NOBODY, signals or built_in()
        self._clock = clock or SystemClock()
        self._offered, self.catalog, self._said = catalog, catalog, dict[str, bool]()
        self._expired = set[str]()  # kinds that were warned of
        self._unanswered: tuple[Consent, Occasion] | None = None  # an answer not stored yet
        self._traces_end = False  # whether traces are to be destroyed, and are not yet
        self._vault, self.state_lost = opened(settings.path, key)
        try:
            self._begin(consent, transport, anchor)
        except VaultDamaged:  # an old record, which `opened` does not look at
            self._vault.close()
            self._vault, self.state_lost = opened(settings.path, key)
            self._begin(consent, transport, anchor)
        except BaseException:
            self._vault.close()
            raise

    def _begin(
        self, consent: Consent | None, transport: Transport | None, anchor: LedgerAnchor | None
    ) -> None:
        """Build on the open vault what the verbs use, and record `consent`."""
        from tactful.device.caps import CapEngine, Rules
        from tactful.device.consent import Shown
        from tactful.device.controls import Controls
        from tactful.device.recollection import Recollection
        from tactful.device.sharing import Sharing
        from tactful.device.trust import Trust, caps

        settings = self.settings
        rules = Rules.default() if settings.caps is None else Rules.parse(settings.caps)
        spent, heard = caps(settings), lambda: self.restrictions
        self._past = Recollection(self._vault, spent, settings, heard, self._now_seconds)
        told = consent is not None or self._past.settled().told
        # before the notice nothing is written
        self._caps = CapEngine(self._vault, self._clock, rules, caps="store" if told else "memory")
        self._trust = Trust(self._vault, anchor, settings.trust_days)
        if self.state_lost is not None:
            self._caps.lost(settings.on_state_loss)
            if told:
                self._trust.put_back(self._caps.ledger_time()[0])
        self._in_use: tuple[int, InUse | None] | None = None
        self._lists: Lists | None = None
        self._sharing = Sharing(
            self._vault,
            settings,
            self._past,
            self._trust,
            transport=transport,
            now_seconds=self._now_seconds,
            ledger_time=self._caps.ledger_time,
        )
        if consent is not None:
            self._answered(consent, self._occasion(Shown()), asked=False)
        self._count_where_allowed(self._past.settled())
        self.controls = Controls(self._vault, self._caps, rules, self._past.settled)

    # the five verbs, and release

    def observe(self, event: Event) -> None:
        """Remember what happened; an impression confirms its reservation.

        While the person paused learning, and of sensitive items, nothing is learnt, nor from a kind
        whose declaration has ended: that is logged, and only limits count it. Raises ConsentMissing
        unless they agreed to a local profile (shows and refusals are remembered for repetition
        limits alone), InvalidInput for an item not in the catalog, or a kind not declared.
        """
        item = self._item(event)
        require_scope(event, item)
        memory = self._settled()
        if event.kind not in NEEDS_NO_PROFILE:
            memory.consent.require("local_profile")
        learns = memory.consent.allows("local_profile") and self._may_learn(memory, item)
        purpose = self._purpose(event.kind, learns=learns)
        if purpose is None:
            return
        try:
            with self._unless_erased(event.reservation_id):
                self._caps.record(event, item, purpose=purpose)
        except NotStored:
            self._past.unstored.append(self._unstored(event, purpose))
            raise

    def recommend(
        self,
        n: int,
        *,
        surface: str = "home",
        balance: float | None = None,
        diversity: float | None = None,
        exclude: Iterable[str] = (),
    ) -> Picks:
        """Up to `n` items with reasons and reservations; a typed reason for each missing one.

        `balance` can only lower what app and person allow; 0 is the standard list. `diversity`
        stands in for the one of the settings: hand in both of an experiment's arm. `exclude` names
        items that cannot be offered now, to anyone. Raises InvalidInput for an unknown surface and
        for arguments that make no sense.
        """
        from tactful.device.ranking.lists import Asked, excluded

        asked = Asked(n, surface, balance, excluded(exclude), diversity=diversity)
        lists, known = self._ready()
        return lists.recommend(asked, known, self._now_ms())

    def release(self, pick: Pick) -> None:
        """Give a pick back that was never drawn; its reservation no longer counts."""
        from tactful.device.ranking.picks import Pick

        given.instance("pick", pick, Pick, "give back one of `recommend`")
        with self._unless_erased(pick.reservation_id):
            self._caps.release(pick.reservation_id)

    def contribute(self) -> Contribution:
        """Send one report for the open round, charged first; called again, nothing more is spent.

        Raises ConsentMissing, BudgetExhausted, TaskRejected, ReportRejected, TransportError.
        """
        return self._sharing.contribute(self._likes, self.catalog)

    def cover(self) -> Contribution:
        """Send zeros to the open round, so that sharing cannot be told from not sharing.

        Once a round, in place of a contribution; it costs nothing. Raises ConsentMissing,
        TaskRejected, ReportRejected, TransportError.
        """
        return self._sharing.cover()

    def refresh(self) -> ModelRelease:
        """Fetch, verify and adopt the newest model; raises ModelRejected, TransportError."""
        return self._sharing.refresh(self.catalog)

    def refresh_due(self) -> clocks.datetime | None:
        """When the app should call `refresh` next, UTC; None if the device shares with nobody.

        Each device has its own delay of up to a quarter of `settings.refresh_hours`, so that not
        all ask at once; a try that failed counts too. Nothing is fetched here.
        """
        return self._sharing.refresh_due()

    def forget(self, *, hides: bool = False) -> int:
        """Destroy events, profile and model for good; charges stay, nothing is refunded.

        What the person hid or reported stays hidden, unless `hides`: else it would come back.
        Returns how many records were destroyed.
        """
        given.flag("hides", hides)
        self._in_use = None
        return self._anew(self._past.forget([] if hides else self._caps.lasting()))

    def erase(self, part: Part) -> int:
        """Destroy what `part` names (an item, a category, a surface, a time); charges stay.

        Returns how many records were erased or blanked.
        """
        from tactful.device.erasure import Part, erase

        given.instance("part", part, Part, "hand in Part(items=...), or use forget() for all")
        return self._anew(erase(self._vault, part))

    def tidy(self) -> int:
        """Destroy what was kept for as long as it may be; how many records. Call it once a day."""
        return self._anew(self._caps.fold_away() + self._past.outlive(self.signals, self._now_ms()))

    # experiments

    def arm(self, experiment: Experiment) -> Arm:
        """The version that this device shows: the control, unless the person takes part."""
        from tactful.device.experiments import assign

        require_experiment(experiment)
        if not self.memory.consent.allows("experiments"):
            return experiment.arms[0]
        return assign(self._vault, experiment, self._now_seconds()) or experiment.arms[0]

    def expose(self, experiment: Experiment) -> None:
        """Note that the person saw their version today; nothing unless they take part."""
        from tactful.device.experiments import expose, standing

        require_experiment(experiment)
        joined = standing(self._vault, self._now_seconds()).arms
        if self.memory.consent.allows("experiments") and experiment.id in joined:
            expose(self._vault, experiment, self._today())

    def contribute_to(self, experiment: Experiment) -> Contribution | None:
        """Add what this device counted to the open period, once; None until it was measured.

        Raises ConsentMissing, BudgetExhausted, TaskRejected, ReportRejected, TransportError.
        """
        require_experiment(experiment)
        return self._sharing.contribute_to(experiment)

    # what explains, and what the person sets

    @property
    def memory(self) -> Memory:
        """What the vault says now."""
        return self._past.whole()

    def agree(self, consent: Consent, shown: Shown | None = None) -> None:
        """Record what the person answered to what was `shown`; whatever is not granted is denied.

        When it returns nothing that was withdrawn is on its way, and nothing waits to be sent.
        Raises NotStored if the vault cannot be written: what was withdrawn ends in this process
        all the same, and the answer is stored with the next write or on `close`.
        """
        from tactful.device.consent import PURPOSES, Consent, Shown

        given.instance("consent", consent, Consent, "hand in Consent.to(...)")
        answered_to = Shown() if shown is None else shown
        given.instance("shown", answered_to, Shown, "hand in Shown(text=...), or None")
        self._unanswered = consent, self._occasion(answered_to)
        denied = frozenset(PURPOSES) - consent.granted - {"essential"}
        self._past.withheld = denied | (consent.refused & {"essential"})
        try:
            self._store_answer()
        except VaultDamaged:
            raise
        except VaultError as refused:
            with suppress(OSError), self._sharing.sending.withdrawing():
                pass  # what was on its way has ended, and nothing sets out
            raise NotStored.of("consent", refused) from refused

    def set_balance(self, balance: float) -> None:
        """Record how personal the person wants lists to be, 0 (standard) to 1."""
        self.controls.set_balance(balance)

    def why_not(self, item_id: str, *, surface: str = "home") -> WhyNot:
        """Why an item is not shown now: its place, and what holds it back. No side effects."""
        from tactful.device.ranking.lists import Asked

        item, asked = self.catalog[item_id], Asked(10, surface)
        lists, known = self._ready()
        return lists.why_not(item, asked, known, self._now_ms())

    def simulate(
        self, n: int, *, surface: str = "home", ahead: timedelta | None = None
    ) -> list[Item]:
        """What a list would hold `ahead` from now if nothing happened; no side effects."""
        from datetime import timedelta

        from tactful.device.ranking.lists import Asked

        ahead = timedelta() if ahead is None else ahead
        given.instance("ahead", ahead, timedelta, "use timedelta(days=1)")
        held = timedelta() <= ahead <= timedelta(days=MOST_AHEAD)
        fix = f"use a time from now on, of at most {MOST_AHEAD:,} days"
        given.require(held, "ahead", f"{ahead} is in the past or too far away", fix)
        ahead_ms = int(ahead.total_seconds() * 1000)
        lists, known = self._ready()
        return lists.preview(Asked(n, surface), known, self._now_ms(), ahead_ms)

    def foresee(self, n: int, *, surface: str = "home") -> list[Foreseen]:
        """What a list would hold now, each item with its reasons; no side effects."""
        from tactful.device.ranking.lists import Asked

        lists, known = self._ready()
        return lists.foresee(Asked(n, surface), known, self._now_ms())

    def explain(self, decision_id: str, item_id: str) -> Explained:
        """How an item came to its place in an earlier list, stage by stage; no side effects.

        Raises InvalidInput for a decision that is no longer kept: the last 32 are, and all of the
        last 30 days where the person agreed to diagnostics.
        """
        lists, known = self._ready()
        return lists.explain(decision_id, self.catalog[item_id], known)

    def replay(self, decision_id: str) -> Replay:
        """An earlier list made again from what was known then; kept as long as for `explain`."""
        lists, known = self._ready()
        return lists.replay(decision_id, known)

    def metrics(self) -> Measures | None:
        """What this device's late lists did to the person; computed here, and nothing is sent.

        Over the lists that `replay` knows; None before the first.
        """
        lists, known = self._ready()
        return lists.measures(known, self._now_ms())

    def interests(self) -> tuple[Interest, ...]:
        """What the person is taken to like, the strongest first, each with the events behind it.

        `controls.set_interest` silences or lifts one, `erase` destroys what it came from.
        """
        from tactful.device.ranking.interests import interests

        memory, concern = self.memory, self.settings.wishes.concern
        return interests(memory.profile, self.catalog, self._now_ms(), memory.interests, concern)

    def undo(self, event_id: str) -> None:
        """Take back a like, a dislike, a hide, ...: it is destroyed, and counts nowhere any more.

        Raises InvalidInput for an unknown event, or a show, which stays true.
        """
        given.text("event_id", event_id)
        self._past.undo(event_id)

    @property
    def model(self) -> Model | None:
        """The model that lists are made with; None before the first."""
        in_use = self._adopted(self._past.settled())
        return self._shipped if in_use is None else in_use.model

    def sent_bytes(self, disclosure: Disclosure) -> bytes:
        """The exact bytes of a report, as they left this device."""
        from tactful.device.contributor import report_bytes

        return report_bytes(self._vault, disclosure)

    def events(self) -> Iterator[StoredEvent]:
        """Everything that is remembered to have happened, oldest first."""
        return self._past.events()

    def evidence(self) -> dict[str, object]:
        """The signed ledger and what left, for an auditor, as plain values; nothing of the person.

        Its head can be compared with an earlier one: a ledger only grows.
        """
        from tactful.device.ledger_export import evidence

        return evidence(self._vault, self.memory)

    def lifetime(self) -> Lifetime:
        """What sharing has cost so far: in all, in the last year, by purpose and by task."""
        from tactful.privacy.lifetime import lifetime

        return lifetime(
            self.memory.ledger, self.settings.delta, self._caps.ledger_time()[1] // 1000
        )

    def data_ledger(self) -> list[Entry]:
        """The person's book: what was recorded, inferred, shown, assigned, installed, sent."""
        from tactful.device.data_ledger import data_ledger

        records, delta = self._vault.read(), self.settings.delta
        return data_ledger(records, self.memory, self.signals, delta=delta)

    def export(self) -> dict[str, object]:
        """Everything the vault holds, as plain values: `book` to be read, `records` as they lie.

        The book is the whole of `data_ledger`, by names; a record holds its fields by position.
        Secrets of the vault stay in it.
        """
        from tactful.device.data_ledger import exported

        records, known = self._vault.read(), (self.memory, self.signals)
        return exported(records, *known, vault=self._vault.id, delta=self.settings.delta)

    def close(self) -> None:
        """Let go of the vault; raises NotStored if a no of the person still cannot be stored."""
        self._store_waiting()
        self._vault.close()
        if self._unanswered is not None or self._caps.waiting:
            raise NotStored(
                "close: what the person said could not be stored, and ended with this process; "
                "make room and ask them again"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # wiring

    def _ready(self) -> tuple[Lists, Known]:
        """What makes lists, and what is known now: all but the profile from one reading."""
        from tactful.device.ranking.lists import Known, Lists

        memory = self._settled()
        if memory.used_up != self._said:
            self._said, self._lists = dict(memory.used_up), None
            self.catalog = self._offered.corrected(self._said)
        if self._lists is None:
            self._lists = Lists(self.catalog, self.settings, self._vault, self._caps)
        self.controls.follow(memory.limits)
        in_use = self._adopted(memory)
        model = self._shipped if in_use is None else in_use.model
        release = None if in_use is None else in_use.release
        return self._lists, Known(memory, self._past.profile, model, release, self._now_seconds())

    def _settled(self) -> Memory:
        """What is settled now; once any process recorded an answer, limits are kept here too."""
        self._store_waiting()
        memory = self._past.settled()
        self._count_where_allowed(memory)
        return memory

    def _count_where_allowed(self, memory: Memory) -> None:
        """Count shows in the vault once the person was told, unless they refused `essential`."""
        stored = memory.told and memory.consent.allows("essential")
        if stored and self._caps.memory_only:
            self._caps.keep(self._vault)
        elif memory.told and not stored and not self._caps.memory_only:
            self._caps.leave_vault()

    def _store_waiting(self) -> None:
        """Try again to store what the person said and the vault refused."""
        if self._unanswered is not None:
            try:
                self._store_answer()
            except VaultDamaged:
                raise
            except VaultError:
                LOG.warning("an answer of the person is not stored yet; it holds in this process")
        if self._caps.waiting:
            self._caps.store_waiting()
        if self._past.unstored and not self._caps.waiting:
            self._past.unstored.clear()

    def _store_answer(self) -> None:
        """Store the answer that waits, and follow it."""
        if self._unanswered is None:
            return
        consent, occasion = self._unanswered
        self._answered(consent, occasion, asked=True)
        if self._caps.memory_only and not self._past.settled().noticed:
            self._vault.append("setting", {"noticed": True}, durable=True)
        self._unanswered, self._past.withheld = None, frozenset()
        self._count_where_allowed(self._past.settled())

    def _unstored(self, event: Event, purpose: str) -> StoredEvent:
        """Return `event` as the profile reads it, until the vault has it."""
        return StoredEvent(
            kind=event.kind,
            at_ms=self._now_ms(),
            purpose=purpose,
            item_id=event.item_id,
            value=event.value,
            scope=event.scope,
            surface=event.surface,
        )

    @contextmanager
    def _unless_erased(self, reservation_id: str | None) -> Iterator[None]:
        """A list may be on the screen when its reservations are erased: nobody's mistake."""
        try:
            yield
        except InvalidInput as unknown:
            erased = reservation_id is not None and self._caps.erased(reservation_id)
            if unknown.field != "reservation_id" or not erased:
                raise

    def _item(self, event: Event) -> Item | None:
        """What the event is about; a show of what left the catalog since then still counts."""
        from tactful.device.events import Event

        given.instance("event", event, Event, "hand in Event(kind=..., item_id=...)")
        gone = event.item_id is None or event.item_id not in self.catalog
        if gone and (event.item_id is None or event.kind == "impression"):
            return None
        return self.catalog[event.item_id or ""]

    def _purpose(self, kind: str, *, learns: bool) -> str | None:
        """Return the purpose that `kind` is recorded for now, None if it is not recorded."""
        if kind not in NEEDS_NO_PROFILE and not learns:
            return None
        if self.signals.expired(kind, self._now_ms()):
            self._warn_expired(kind)
            return None if kind in TASTES else "essential"
        purpose = "local_profile" if learns else "essential"
        self.signals.require(kind, purpose)
        return purpose

    def _warn_expired(self, kind: str) -> None:
        """Log once that a declaration has ended: its kind, and nothing of the person."""
        if kind not in self._expired:
            self._expired.add(kind)
            LOG.warning("the declaration of %r has ended; only limits count it: review it", kind)

    def _may_learn(self, memory: Memory, item: Item | None) -> bool:
        sensitive = item is not None and self.settings.wishes.concern(item)
        return not (memory.paused or sensitive)

    def _adopted(self, memory: Memory) -> InUse | None:
        from tactful.device.model_feed import load

        adoption = memory.adoption
        if adoption is None:
            return None
        if self._in_use is None or self._in_use[0] != adoption.file:
            self._in_use = adoption.file, load(self._vault, adoption, self.catalog)
        return self._in_use[1]

    def _likes(self) -> list[str]:
        likes, concern = self.memory.profile.likes(self._now_ms()), self.settings.wishes.concern
        return [i for i in likes if i in self.catalog and not concern(self.catalog[i])]

    def _anew(self, erased: int) -> int:
        """Rebuild from the vault all that was folded from it, once records are gone."""
        if erased:
            self._past.begin_anew()
            self._caps.use(self._caps.rules)
            self._lists = None
        return erased

    def _occasion(self, shown: Shown) -> Occasion:
        """Return now as the time of an answer, with who else has spoken."""
        from tactful.device.consent import Occasion

        return Occasion(
            shown=shown,
            at=self._now_seconds(),
            policy_version=self.settings.policy_version,
            in_force=self.restrictions.in_force,
        )

    def _answered(self, consent: Consent, occasion: Occasion, *, asked: bool) -> None:
        from tactful.device.contributor import answer

        lock, last = self._sharing.sending, self._past.last
        ended = answer(self._vault, lock, last, consent, occasion, asked=asked)
        self._traces_end = self._traces_end or "diagnostics" in ended
        if self._traces_end:
            self._past.drop_traces()
            self._traces_end = False

    def _today(self) -> int:
        return self._now_seconds() // 86_400

    def _now_seconds(self) -> int:
        """What the wall clock shows: for what others date, such as answers, tasks and releases."""
        return self._clock.reading().wall_ms // 1000

    def _now_ms(self) -> int:
        """The time that events are dated by: what was felt fades by it, however a clock is set."""
        return self._caps.now_ms()
