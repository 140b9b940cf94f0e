"""`me.rights`: reading, exporting and erasing the person's data."""

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
        """Yield every stored event, oldest first."""
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
        """Return everything in the vault as plain values for JSON.

        `data_report` has the same entries as the method of that name, without a limit.
        `records` has every record with the names of its fields
        (docs/spec/vault-format.md). Secret keys are left out.
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
        """Erase the data in `scope`: items, categories, surfaces or a period.

        Return the number of records that were erased or blanked. Charges stay. Raise
        InvalidInput if `scope` is not an ErasureScope.
        """
        from tactful.device.rights.erasure import ErasureScope, erase

        fix = "pass ErasureScope(items=...), or use forget() for all"
        checks.instance("scope", scope, ErasureScope, fix)
        return self._core.rebuild(erase(self._core.vault, scope))

    def forget(self, *, hides: bool = False) -> int:
        """Erase events, profile and model for ever; charges and answers stay.

        Hidden and reported items stay hidden; with `hides`, that is erased too, so that
        they can be shown again. Return the number of records that were erased.
        """
        from tactful.device.state.removal import forget

        checks.flag("hides", hides)
        core = self._core
        core.unload_model()
        hidden = [] if hides else core.caps.blocks.mute_rows()
        return core.rebuild(forget(core.vault, hidden))

    def purge_expired(self) -> int:
        """Erase records whose retention has ended, and compact old impressions.

        Call it once a day. Return the number of records that were erased.
        """
        from tactful.device.state.removal import purge_expired

        core = self._core
        compacted = core.caps.maintenance.compact()
        expired = purge_expired(core.vault, core.event_schema, core.now_ms())
        return core.rebuild(compacted + expired)
