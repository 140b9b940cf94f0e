"""`me.rights`: reading, taking along and erasing what the device holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tactful.device import checks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tactful.device.core import DeviceCore
    from tactful.device.events import StoredEvent
    from tactful.device.rights.data_report import DataReportEntry
    from tactful.device.rights.erasure import ErasureScope


class RightsApi:
    """The person's rights over their own data. Erasing never refunds privacy budget."""

    def __init__(self, core: DeviceCore) -> None:
        self._core = core

    def events(self) -> Iterator[StoredEvent]:
        """Yield every event that is remembered, oldest first."""
        return self._core.state_cache.events()

    def data_report(self) -> list[DataReportEntry]:
        """Return what was recorded, inferred, shown, assigned, installed and sent."""
        from tactful.device.rights.data_report import data_report

        core = self._core
        return data_report(
            core.vault.read(),
            core.state_cache.current(),
            core.event_schema,
            delta=core.settings.delta,
        )

    def export(self) -> dict[str, object]:
        """Return everything the vault holds, as plain values.

        `book` is the data report, to be read; `records` are the vault's own, with their
        fields by position. Secrets of the vault stay in it.
        """
        from tactful.device.rights.data_report import exported

        core = self._core
        state, schema = core.state_cache.current(), core.event_schema
        return exported(
            core.vault.read(),
            state,
            schema,
            vault=core.vault.id,
            delta=core.settings.delta,
        )

    def erase(self, scope: ErasureScope) -> int:
        """Destroy what `scope` names (items, categories, surfaces, a period).

        Returns how many records were erased or blanked. Charges stay.
        """
        from tactful.device.rights.erasure import ErasureScope, erase

        fix = "hand in ErasureScope(items=...), or use forget() for all"
        checks.instance("scope", scope, ErasureScope, fix)
        return self._core.rebuild(erase(self._core.vault, scope))

    def forget(self, *, hides: bool = False) -> int:
        """Destroy events, profile and model for good; charges stay.

        What the person hid or reported stays hidden, unless `hides`: otherwise it would be
        shown again. Returns how many records were destroyed.
        """
        from tactful.device.state.removal import forget

        checks.flag("hides", hides)
        core = self._core
        core.unload_model()
        hidden = [] if hides else core.caps.blocks.mute_rows()
        return core.rebuild(forget(core.vault, hidden))

    def purge_expired(self) -> int:
        """Destroy records whose retention has ended; call it once a day.

        Returns how many records were destroyed.
        """
        from tactful.device.state.removal import purge_expired

        core = self._core
        compacted = core.caps.maintenance.compact()
        expired = purge_expired(core.vault, core.event_schema, core.now_ms())
        return core.rebuild(compacted + expired)
