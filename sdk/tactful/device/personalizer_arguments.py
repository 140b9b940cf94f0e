"""Checks of what the app passes to a `Personalizer`.

A wrong argument would fail much later, far from its cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tactful.device import checks
from tactful.errors import InvalidInput

if TYPE_CHECKING:
    from tactful.device.catalog import Item
    from tactful.device.events import Event
    from tactful.learning.model import Model


def check_required(
    catalog: object, settings: object, *, key: object, consent: object
) -> None:
    """Raise InvalidInput for a required argument of the wrong type."""
    from tactful.device.catalog import Catalog
    from tactful.device.consent import Consent
    from tactful.device.settings import Settings

    checks.instance("catalog", catalog, Catalog, "pass tactful.Catalog(items)")
    checks.instance("settings", settings, Settings, "pass tactful.Settings(path=...)")
    checks.able("key", key, "key", "pass HostKey(32 bytes) or KeyFile(path)")
    if consent is not None:
        checks.instance("consent", consent, Consent, "pass Consent.to(...), or None")


def check_optional(
    restrictions: object,
    event_schema: object,
    clock: object,
    transport: object,
    rollback_anchor: object,
) -> None:
    """Raise InvalidInput for an optional argument of the wrong type."""
    from tactful.device.consent import Restrictions
    from tactful.device.event_schema import EventSchema

    if restrictions is not None:
        fix = "pass Restrictions(...)"
        checks.instance("restrictions", restrictions, Restrictions, fix)
    if event_schema is not None:
        fix = "pass EventSchema.parse(...)"
        checks.instance("event_schema", event_schema, EventSchema, fix)
    for field, value, method in (
        ("clock", clock, "reading"),
        ("transport", transport, "send"),
        ("rollback_anchor", rollback_anchor, "read"),
    ):
        if value is not None:
            fix = f"pass an object with a method {method}(), or None"
            checks.able(field, value, method, fix)


def check_model(model: Model | None, item_count: int) -> None:
    """Raise InvalidInput unless the app's model is complete and fits the catalog."""
    if model is None:
        return
    if not callable(getattr(model, "arrays", None)):
        raise InvalidInput(
            "model", f"{model!r} is not a model", "pass a tactful.learning Model"
        )
    type(model).from_arrays(model.arrays())
    model_item_count = len(model.popularity)
    if model_item_count != item_count:
        problem = f"it has {model_item_count} items, the catalog has {item_count}"
        fix = "ship the model that was trained for this catalog"
        raise InvalidInput("model", problem, fix)


def check_scope(event: Event, item: Item | None) -> None:
    """Raise InvalidInput if the item of an event has no value in its scope."""
    if event.scope in (None, "item", "family") or item is None:
        return
    if event.scope == "surface":
        value, fix = event.surface, "set event.surface"
    else:
        value, fix = getattr(item, str(event.scope)), "use scope='item'"
    problem = f"{checks.shown(item.id)} has no {event.scope}"
    checks.require(bool(value), "event.scope", problem, fix)


def check_experiment(experiment: object) -> None:
    """Raise InvalidInput unless `experiment` is an Experiment."""
    from tactful.protocol.documents.experiment import Experiment

    fix = "pass Experiment.parse(...)"
    checks.instance("experiment", experiment, Experiment, fix)
