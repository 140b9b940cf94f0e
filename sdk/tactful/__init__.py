"""Tactful: privacy-first, on-device personalization.

The public API is `Personalizer` and the names listed in `__all__`. They are loaded when
they are first used, so that `import tactful` costs little.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tactful.device.caps.deciding.results import Denial
    from tactful.device.catalog import Catalog, Item
    from tactful.device.consent import Consent, ConsentNotice, Restrictions
    from tactful.device.device_key import HostKey, KeyFile, KeyProvider, KeyringKey
    from tactful.device.event_schema import EventKind, EventSchema
    from tactful.device.events import Event, StoredEvent
    from tactful.device.list_policy import ListPolicy, PlacementRules
    from tactful.device.network.contributor import Contribution
    from tactful.device.personalizer import Personalizer
    from tactful.device.ranking.device_metrics import DeviceMetrics
    from tactful.device.ranking.explanations.interests import Interest
    from tactful.device.ranking.explanations.reasons import Reason, ReasonCode
    from tactful.device.ranking.list_trace import ListReplay, PlaceExplanation
    from tactful.device.ranking.results import (
        Missing,
        Pick,
        Picks,
        PreviewedItem,
        WhyNot,
    )
    from tactful.device.rights.data_report import DataReportEntry
    from tactful.device.rights.erasure import ErasureScope
    from tactful.device.settings import Aggregators, Settings
    from tactful.device.state.device_state import DeviceState, Disclosure
    from tactful.device.vault.rollback_anchor import (
        RollbackAnchor,
        RollbackAnchorFile,
    )
    from tactful.errors import (
        BatchCollected,
        BatchError,
        BatchMismatch,
        BatchTooSmall,
        BudgetExhausted,
        CollectionDeleted,
        ConsentMissing,
        DatasetError,
        DecodeError,
        HpkeConfigRejected,
        InvalidInput,
        ModelRejected,
        NotStored,
        OpenError,
        ProofRejected,
        ProtocolError,
        ReportRejected,
        StorageFull,
        TactfulError,
        TaskRejected,
        TransportError,
        TrustPending,
        VaultDamaged,
        VaultError,
        VaultForeign,
        WrongKey,
    )
    from tactful.privacy.lifetime import LifetimeSpending
    from tactful.protocol.documents.experiment import Arm, Experiment, Metric
    from tactful.protocol.documents.model_release import ModelRelease

__version__ = "0.1.0"

__all__ = [
    "Aggregators",
    "Arm",
    "BatchCollected",
    "BatchError",
    "BatchMismatch",
    "BatchTooSmall",
    "BudgetExhausted",
    "Catalog",
    "CollectionDeleted",
    "Consent",
    "ConsentMissing",
    "ConsentNotice",
    "Contribution",
    "DataReportEntry",
    "DatasetError",
    "DecodeError",
    "Denial",
    "DeviceMetrics",
    "DeviceState",
    "Disclosure",
    "ErasureScope",
    "Event",
    "EventKind",
    "EventSchema",
    "Experiment",
    "HostKey",
    "HpkeConfigRejected",
    "Interest",
    "InvalidInput",
    "Item",
    "KeyFile",
    "KeyProvider",
    "KeyringKey",
    "LifetimeSpending",
    "ListPolicy",
    "ListReplay",
    "Metric",
    "Missing",
    "ModelRejected",
    "ModelRelease",
    "NotStored",
    "OpenError",
    "Personalizer",
    "Pick",
    "Picks",
    "PlaceExplanation",
    "PlacementRules",
    "PreviewedItem",
    "ProofRejected",
    "ProtocolError",
    "Reason",
    "ReasonCode",
    "ReportRejected",
    "Restrictions",
    "RollbackAnchor",
    "RollbackAnchorFile",
    "Settings",
    "StorageFull",
    "StoredEvent",
    "TactfulError",
    "TaskRejected",
    "TransportError",
    "TrustPending",
    "VaultDamaged",
    "VaultError",
    "VaultForeign",
    "WhyNot",
    "WrongKey",
    "__version__",
]

# The module that defines each public name.
_MODULES = {
    "Aggregators": "tactful.device.settings",
    "Arm": "tactful.protocol.documents.experiment",
    "BatchCollected": "tactful.errors",
    "BatchError": "tactful.errors",
    "BatchMismatch": "tactful.errors",
    "BatchTooSmall": "tactful.errors",
    "BudgetExhausted": "tactful.errors",
    "Catalog": "tactful.device.catalog",
    "CollectionDeleted": "tactful.errors",
    "Consent": "tactful.device.consent",
    "ConsentMissing": "tactful.errors",
    "ConsentNotice": "tactful.device.consent",
    "Contribution": "tactful.device.network.contributor",
    "DataReportEntry": "tactful.device.rights.data_report",
    "DatasetError": "tactful.errors",
    "DecodeError": "tactful.errors",
    "Denial": "tactful.device.caps.deciding.results",
    "DeviceMetrics": "tactful.device.ranking.device_metrics",
    "DeviceState": "tactful.device.state.device_state",
    "Disclosure": "tactful.device.state.device_state",
    "ErasureScope": "tactful.device.rights.erasure",
    "Event": "tactful.device.events",
    "EventKind": "tactful.device.event_schema",
    "EventSchema": "tactful.device.event_schema",
    "Experiment": "tactful.protocol.documents.experiment",
    "HostKey": "tactful.device.device_key",
    "HpkeConfigRejected": "tactful.errors",
    "Interest": "tactful.device.ranking.explanations.interests",
    "InvalidInput": "tactful.errors",
    "Item": "tactful.device.catalog",
    "KeyFile": "tactful.device.device_key",
    "KeyProvider": "tactful.device.device_key",
    "KeyringKey": "tactful.device.device_key",
    "LifetimeSpending": "tactful.privacy.lifetime",
    "ListPolicy": "tactful.device.list_policy",
    "ListReplay": "tactful.device.ranking.list_trace",
    "Metric": "tactful.protocol.documents.experiment",
    "Missing": "tactful.device.ranking.results",
    "ModelRejected": "tactful.errors",
    "ModelRelease": "tactful.protocol.documents.model_release",
    "NotStored": "tactful.errors",
    "OpenError": "tactful.errors",
    "Personalizer": "tactful.device.personalizer",
    "Pick": "tactful.device.ranking.results",
    "Picks": "tactful.device.ranking.results",
    "PlaceExplanation": "tactful.device.ranking.list_trace",
    "PlacementRules": "tactful.device.list_policy",
    "PreviewedItem": "tactful.device.ranking.results",
    "ProofRejected": "tactful.errors",
    "ProtocolError": "tactful.errors",
    "Reason": "tactful.device.ranking.explanations.reasons",
    "ReasonCode": "tactful.device.ranking.explanations.reasons",
    "ReportRejected": "tactful.errors",
    "Restrictions": "tactful.device.consent",
    "RollbackAnchor": "tactful.device.vault.rollback_anchor",
    "RollbackAnchorFile": "tactful.device.vault.rollback_anchor",
    "Settings": "tactful.device.settings",
    "StorageFull": "tactful.errors",
    "StoredEvent": "tactful.device.events",
    "TactfulError": "tactful.errors",
    "TaskRejected": "tactful.errors",
    "TransportError": "tactful.errors",
    "TrustPending": "tactful.errors",
    "VaultDamaged": "tactful.errors",
    "VaultError": "tactful.errors",
    "VaultForeign": "tactful.errors",
    "WhyNot": "tactful.device.ranking.results",
    "WrongKey": "tactful.errors",
}


if not TYPE_CHECKING:  # for a type checker a misspelt name is an error

    def __getattr__(name: str) -> object:
        """Load a public name when it is first used; raise AttributeError for any other."""
        if name not in _MODULES:
            raise AttributeError(f"module 'tactful' has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """Return every public name, loaded or not."""
    return sorted(__all__)
