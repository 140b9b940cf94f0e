"""The newest state of one vault, with the consent that is in force now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tactful.device.consent import Consent, Restrictions, effective
from tactful.device.events import StoredEvent
from tactful.device.settings import Settings
from tactful.device.state.device_state import DeviceState
from tactful.device.state.profile import Profile
from tactful.device.state.projection import project, project_without_profile
from tactful.device.vault import Vault
from tactful.privacy.budget import Ledger


class StateCache:
    """The last projected state of a vault; each read adds the newer records.

    `last` is that state without restrictions. `unstored_refusals` are purposes that the
    person ended, and `unstored_events` are refusals of items, both not stored yet
    because the vault could not be written.
    """

    def __init__(
        self,
        vault: Vault,
        ledger: Ledger,
        settings: Settings,
        restrictions: Callable[[], Restrictions],
        now_seconds: Callable[[], int],
    ) -> None:
        """Start empty; `ledger` is an empty one with the caps of the settings."""
        self._vault = vault
        self._empty_state = DeviceState(ledger=ledger)
        self._settings = settings
        self._restrictions = restrictions
        self._now_seconds = now_seconds
        self.last = self._empty_state
        self.unstored_refusals: frozenset[str] = frozenset()
        self.unstored_events: list[StoredEvent] = []

    def current(self) -> DeviceState:
        """Return the state now."""
        self.last = project(self._vault, self.last)
        state = self._with_effective_consent(self.last)
        if not self.unstored_events:
            return state
        return replace(state, profile=state.profile.after(self.unstored_events))

    def without_profile(self) -> DeviceState:
        """Return the state now with an old profile, so that no event is opened."""
        self.last = project_without_profile(self._vault, self.last)
        return self._with_effective_consent(self.last)

    def profile(self) -> Profile:
        """Return the profile now, whether or not it may be used."""
        self.last = project(self._vault, self.last)
        return self.last.profile.after(self.unstored_events)

    def events(self) -> Iterator[StoredEvent]:
        """Yield every stored event, oldest first."""
        records = self._vault.read(0, ["event"])
        return (StoredEvent.from_fields(record.fields) for record in records)

    def reset(self) -> None:
        """Project the state from the first record again, because some were erased."""
        self.last = self._empty_state

    def _with_effective_consent(self, state: DeviceState) -> DeviceState:
        consent = effective(
            state.answers,
            self._restrictions(),
            now=self._now_seconds(),
            policy_version=self._settings.policy_version,
        )
        return replace(state, consent=self._without_refused(consent))

    def _without_refused(self, consent: Consent) -> Consent:
        refusals = self.unstored_refusals
        if not refusals:
            return consent
        return Consent(
            consent.granted - refusals,
            consent.refused | (refusals & {"essential"}),
            reasons={**consent.reasons, **dict.fromkeys(refusals, "USER")},
        )
