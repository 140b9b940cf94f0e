"""Helpers for tests of apps: a manual clock, a fixed key, a small catalog, a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tactful.device.catalog import Catalog, Item
from tactful.device.clock import ManualClock
from tactful.device.consent import Consent
from tactful.device.device_key import HostKey
from tactful.device.event_schema import EventSchema
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Settings

__all__ = [
    "FIXED_KEY",
    "LOCAL",
    "FrozenClock",
    "NewDeviceSettings",
    "small_catalog",
    "small_device",
]

FrozenClock = ManualClock
FIXED_KEY = HostKey(bytes(range(32)))
LOCAL = Consent.to("local_profile", "local_personalization")


@dataclass(frozen=True, kw_only=True)
class NewDeviceSettings(Settings):
    """Settings of a device that is known to be new, so that it need not wait.

    Only a test can know this; `Settings` demands at least a day.
    """

    trust_days: int = 0
    least_trust_days: ClassVar[int] = 0


def small_catalog(items: int = 30, categories: int = 5) -> Catalog:
    """Return items `item-0`, `item-1`, ... in categories `kind-0`, `kind-1`, ..."""
    return Catalog(
        Item(id=f"item-{n}", title=f"Item {n}", category=f"kind-{n % categories}")
        for n in range(items)
    )


def small_device(
    catalog: Catalog | None = None,
    settings: Settings | None = None,
    *,
    consent: Consent | None = LOCAL,
    clock: ManualClock | None = None,
    event_schema: EventSchema | None = None,
) -> Personalizer:
    """Return a device in memory whose time moves only with `clock.advance`."""
    return Personalizer(
        small_catalog() if catalog is None else catalog,
        settings or Settings(path=None),
        key=FIXED_KEY,
        consent=consent,
        clock=clock or ManualClock(),
        event_schema=event_schema,
    )
