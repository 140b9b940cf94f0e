"""Any order of answers, events, erasures and crashes: what the person said holds throughout."""

from __future__ import annotations

import gc

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tactful.device.consent import PURPOSES, Consent
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.rights.erasure import ErasureScope
from tactful.device.settings import Settings
from tactful.errors import ConsentMissing
from tactful.testing import FIXED_KEY, FrozenClock, small_catalog

ITEMS = [f"item-{number}" for number in range(6)]
CATALOG = small_catalog(6)
DAY_MS = 86_400_000
ASKED = sorted(set(PURPOSES) - {"essential"})
LEARNT = ("like", "click", "purchase", "view")


class PersonInCharge(RuleBasedStateMachine):
    """A device that is answered, used, erased and killed; beside it, what was said last."""

    @initialize()
    def begin(self) -> None:
        from tempfile import TemporaryDirectory

        self.folder = TemporaryDirectory()
        self.clock = FrozenClock()
        self.granted: frozenset[str] = frozenset()
        self.learnt: set[str] = set()
        self.answers = 0
        self.opened(Consent())

    def opened(self, consent: Consent | None) -> None:
        settings = Settings(path=f"{self.folder.name}/taste.db", lifetime_epsilon=1.0)
        self.device = Personalizer(
            CATALOG, settings, key=FIXED_KEY, consent=consent, clock=self.clock
        )

    def teardown(self) -> None:
        if hasattr(self, "device"):
            self.device.close()
            self.folder.cleanup()

    @rule(purposes=st.frozensets(st.sampled_from(ASKED)))
    def answer(self, purposes: frozenset[str]) -> None:
        self.device.agree(Consent.to(*purposes))
        self.granted = purposes
        self.answers = len(self.device.status.answers.records)

    @rule(kind=st.sampled_from(LEARNT), item=st.sampled_from(ITEMS))
    def tell(self, kind: str, item: str) -> None:
        try:
            self.device.observe(Event(kind=kind, item_id=item))
        except ConsentMissing:
            assert "local_profile" not in self.granted
        else:
            assert "local_profile" in self.granted
            self.learnt.add(item)

    @rule(seen=st.booleans())
    def show(self, seen: bool) -> None:
        for pick in self.device.recommend(2):
            if seen:
                self.device.observe(pick.impression())

    @rule(item=st.sampled_from(ITEMS))
    def erase_one(self, item: str) -> None:
        self.device.rights.erase(ErasureScope(items=frozenset({item})))
        self.learnt.discard(item)

    @rule()
    def erase_all(self) -> None:
        self.device.rights.forget()
        self.learnt.clear()

    @rule()
    def crash(self) -> None:
        """The process is gone without a goodbye; another opens the file."""
        self.device._core.vault._lines.close()
        del self.device
        gc.collect()
        self.opened(None)

    @rule()
    def a_day_passes(self) -> None:
        self.clock.advance(DAY_MS)
        self.device.rights.purge_expired()

    @invariant()
    def only_what_was_granted_is_allowed(self) -> None:
        if not hasattr(self, "device"):
            return
        consent = self.device.status.consent
        needs = {
            "local_personalization": "local_profile",
            "share_dp_updates": "local_profile",
        }
        for purpose in ASKED:
            granted = (
                purpose in self.granted and needs.get(purpose, purpose) in self.granted
            )
            assert consent.allows(purpose) == granted, purpose

    @invariant()
    def only_what_was_told_and_not_erased_is_known(self) -> None:
        if hasattr(self, "device"):
            assert set(self.device.status.profile.beliefs) <= self.learnt

    @invariant()
    def answers_are_never_lost(self) -> None:
        if hasattr(self, "device"):
            assert len(self.device.status.answers.records) >= self.answers


TestPersonInCharge = PersonInCharge.TestCase
TestPersonInCharge.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None
)
