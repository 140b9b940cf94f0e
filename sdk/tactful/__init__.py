"""Personalization that stays on the device, and knows when to stop."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tactful.device.anchor import AnchorFile
    from tactful.device.catalog import Catalog, Item
    from tactful.device.consent import Consent, Restrictions, Shown
    from tactful.device.device_key import HostKey, KeyFile, KeyProvider, KeyringKey
    from tactful.device.erasure import Part
    from tactful.device.events import Event
    from tactful.device.personalizer import Personalizer
    from tactful.device.settings import Aggregators, Settings
    from tactful.device.signals import Registry
    from tactful.device.wishes import BrandRules, Wishes
    from tactful.errors import TactfulError
    from tactful.protocol.experiment import Experiment

__all__ = [
    "Aggregators",
    "AnchorFile",
    "BrandRules",
    "Catalog",
    "Consent",
    "Event",
    "Experiment",
    "HostKey",
    "Item",
    "KeyFile",
    "KeyProvider",
    "KeyringKey",
    "Part",
    "Personalizer",
    "Registry",
    "Restrictions",
    "Settings",
    "Shown",
    "TactfulError",
    "Wishes",
]

_HOMES = {
    "Aggregators": "tactful.device.settings",
    "AnchorFile": "tactful.device.anchor",
    "BrandRules": "tactful.device.wishes",
    "Catalog": "tactful.device.catalog",
    "Consent": "tactful.device.consent",
    "Event": "tactful.device.events",
    "Experiment": "tactful.protocol.experiment",
    "HostKey": "tactful.device.device_key",
    "Item": "tactful.device.catalog",
    "KeyFile": "tactful.device.device_key",
    "KeyProvider": "tactful.device.device_key",
    "KeyringKey": "tactful.device.device_key",
    "Part": "tactful.device.erasure",
    "Personalizer": "tactful.device.personalizer",
    "Registry": "tactful.device.signals",
    "Restrictions": "tactful.device.consent",
    "Settings": "tactful.device.settings",
    "Shown": "tactful.device.consent",
    "TactfulError": "tactful.errors",
    "Wishes": "tactful.device.wishes",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for, so that importing costs little."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tactful' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
