"""What one device remembers, kept up as it is asked for, with the consent that holds just then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from tactful.device.consent import Consent, Restrictions, effective
from tactful.device.event_schema import EventSchema
from tactful.device.events import StoredEvent
from tactful.device.settings import Settings
from tactful.device.state import device_state as remembering
from tactful.device.state.device_state import DeviceState
from tactful.device.state.profile import Profile
from tactful.device.vault import Vault
from tactful.privacy.budget import Ledger


class StateCache:
    """The memory of one vault; each answer is as new as the vault."""

    def __init__(
        self,
        vault: Vault,
        ledger: Ledger,
        settings: Settings,
        restrictions: Callable[[], Restrictions],
        now_seconds: Callable[[], int],
    ) -> None:
        """`ledger` is an empty one, with the app's caps; others may say no at any time."""
        self._vault, self._blank, self._settings = (
            vault,
            DeviceState(ledger=ledger),
            settings,
        )
        self._restrictions, self._now = restrictions, now_seconds
        self.last = self._blank  # as it was read last, without who else may say no
        self.withheld = frozenset[
            str
        ]()  # purposes that the person ended, not stored yet
        self.unstored: list[StoredEvent] = []  # what the person refused, not stored yet

    def whole(self) -> DeviceState:
        """All that the vault says now."""
        self.last = remembering.recall(self._vault, self.last)
        return self._allowed(
            replace(self.last, profile=self.last.profile.after(self.unstored))
        )

    def settled(self) -> DeviceState:
        """The same without the profile, which is not looked at."""
        self.last = remembering.recall_settings(self._vault, self.last)
        return self._allowed(self.last)

    def profile(self) -> Profile:
        """What is believed of the person now, whatever it may be used for."""
        self.last = remembering.recall(self._vault, self.last)
        return self.last.profile.after(self.unstored)

    def events(self) -> Iterator[StoredEvent]:
        """Everything that is remembered to have happened, oldest first."""
        return remembering.events(self._vault)

    def undo(self, event_id: str) -> None:
        """Destroy one event; raises InvalidInput for an unknown one, or a show."""
        remembering.undo(self._vault, event_id)

    def forget(self, hidden: Iterable[Sequence[object]]) -> int:
        """Destroy all but answers, charges, what was sent and what is `hidden`; how many."""
        return remembering.forget(self._vault, hidden)

    def outlive(self, signals: EventSchema, now_ms: int) -> int:
        """Destroy what was kept for as long as it may be; how many records.

        `now_ms` is of the clock that events are dated by: one that was set wrongly erases nothing.
        """
        return remembering.outlive(self._vault, signals, now_ms)

    def begin_anew(self) -> None:
        """Read everything again: something was erased."""
        self.last = self._blank

    def _allowed(self, memory: DeviceState) -> DeviceState:
        consent = effective(
            memory.answers,
            self._restrictions(),
            now=self._now(),
            policy_version=self._settings.policy_version,
        )
        return replace(memory, consent=self._without_withheld(consent))

    def _without_withheld(self, consent: Consent) -> Consent:
        if not self.withheld:
            return consent
        reasons = {**consent.reasons, **dict.fromkeys(self.withheld, "USER")}
        return Consent(
            consent.granted - self.withheld,
            consent.refused | (self.withheld & {"essential"}),
            reasons=reasons,
        )

    def drop_traces(self) -> None:
        """Destroy the traces of decisions in the vault."""
        traces = [record.position for record in self._vault.read(0, ["trace"])]
        if traces:
            self._vault.erase(traces)
