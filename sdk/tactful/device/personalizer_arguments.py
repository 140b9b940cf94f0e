"""What a device is opened with and told: each is what its name says, or InvalidInput says so.

Wrong ones would fail much later, far from where they came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tactful.device import checks
from tactful.errors import InvalidInput

if TYPE_CHECKING:
    from tactful.device.catalog import Item
    from tactful.device.events import Event
    from tactful.learning.model import Model


def require_parts(
    catalog: object, settings: object, *, key: object, consent: object
) -> None:
    """Raise InvalidInput unless each is what its name says."""
    from tactful.device.catalog import Catalog
    from tactful.device.consent import Consent
    from tactful.device.settings import Settings

    checks.instance("catalog", catalog, Catalog, "hand in tactful.Catalog(items)")
    checks.instance(
        "settings", settings, Settings, "hand in tactful.Settings(path=...)"
    )
    checks.able("key", key, "key", "hand in HostKey(32 bytes) or KeyFile(path)")
    if consent is not None:
        checks.instance("consent", consent, Consent, "hand in Consent.to(...), or None")


def require_others(
    restrictions: object,
    event_schema: object,
    clock: object,
    transport: object,
    rollback_anchor: object,
) -> None:
    """Raise InvalidInput for what the host may leave out, unless it is what its name says."""
    from tactful.device.consent import Restrictions
    from tactful.device.event_schema import EventSchema

    if restrictions is not None:
        checks.instance(
            "restrictions", restrictions, Restrictions, "hand in Restrictions(...)"
        )
    if event_schema is not None:
        checks.instance(
            "event_schema", event_schema, EventSchema, "hand in EventSchema.parse(...)"
        )
    for field, value, method in (
        ("clock", clock, "reading"),
        ("transport", transport, "send"),
        ("rollback_anchor", rollback_anchor, "read"),
    ):
        if value is not None:
            checks.able(field, value, method, "hand in an object that has it, or None")


def require_model(model: Model | None, items: int) -> None:
    """Raise InvalidInput unless a model that an app ships is whole, and for these many items."""
    if model is None:
        return
    if not callable(getattr(model, "arrays", None)):
        raise InvalidInput(
            "model", f"{model!r} is no model", "ship a tactful.learning Model"
        )
    type(model).from_arrays(model.arrays())
    if len(model.popularity) != items:
        problem = f"it knows {len(model.popularity)} items, the catalog has {items}"
        raise InvalidInput("model", problem, "ship the one trained for this catalog")


def require_scope(event: Event, item: Item | None) -> None:
    """Raise InvalidInput where an event speaks of a brand, a surface, ... that there is none of."""
    if event.scope in (None, "item", "family") or item is None:
        return
    told = (
        event.surface if event.scope == "surface" else getattr(item, str(event.scope))
    )
    problem = f"{checks.shown(item.id)} has no {event.scope}"
    fix = "name the surface" if event.scope == "surface" else "use scope='item'"
    checks.require(bool(told), "event.scope", problem, fix)


def require_experiment(experiment: object) -> None:
    """Raise InvalidInput unless it is an experiment."""
    from tactful.protocol.documents.experiment import Experiment

    checks.instance(
        "experiment", experiment, Experiment, "hand in Experiment.parse(...)"
    )
