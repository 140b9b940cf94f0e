"""Lint names every rule that never bites or lets nothing through, and no other."""

import random

import pytest
from cap_device import DAY, HOUR, Device, rules, sliding
from cap_schedules import random_items, random_rule, random_rules

from tactful.caps_tools.lint import lint
from tactful.device.caps import Rules

WEEK = 7 * DAY
NINE_TO_NINE = {"surface": ["push"], "days": ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]}


def kinds(found: Rules) -> list[tuple[str, str]]:
    return [(remark.kind, remark.rule_id) for remark in lint(found)]


def calendar(unit: str, limit: int, **more: object) -> dict[str, object]:
    return {"window": {"kind": "calendar", "unit": unit}, "limit": limit, **more}


@pytest.mark.parametrize(
    ("parts", "remarks"),
    [
        ([sliding(DAY, 2), sliding(WEEK, 5)], []),
        ([sliding(DAY, 5), sliding(WEEK, 5)], [("shadowed", "r0")]),
        ([sliding(DAY, 2), sliding(DAY, 2)], [("shadowed", "r1")]),
        ([sliding(DAY, 5), sliding(WEEK, 5, key=["app"])], [("shadowed", "r0")]),
        ([sliding(DAY, 5, key=["app"]), sliding(WEEK, 5)], []),
        ([sliding(DAY, 5), sliding(WEEK, 5, match={"brand": ["x"]})], []),
        ([sliding(DAY, 5, match={"brand": ["x"]}), sliding(WEEK, 5)], [("shadowed", "r0")]),
        ([sliding(DAY, 5), sliding(WEEK, 5, partition="device")], [("shadowed", "r0")]),
        ([sliding(DAY, 5, partition="device"), sliding(WEEK, 5)], []),
        ([sliding(DAY, 3), {"window": {"kind": "cooldown", "ms": 8 * HOUR}}],
         [("unreachable", "r0")]),
        ([sliding(DAY, 2), {"window": {"kind": "cooldown", "ms": 8 * HOUR}}], []),
        ([{"window": {"kind": "lifetime"}, "limit": None}],
         [("unreachable", "r0"), ("unbounded", "r0")]),
        ([sliding(DAY, 2, match={"class": ["vip"]})], [("unreachable", "r0")]),
        ([sliding(DAY, 0)], [("never", "r0")]),
        ([sliding(DAY, 2, match={"brand": ["x"]}), sliding(DAY, 0, id="no")],
         [("shadowed", "r0"), ("unreachable", "r0"), ("never", "no")]),
        ([{"window": {"kind": "decay", "half_life_ms": DAY, "budget": 1.5}}],
         [("starving", "r0")]),
        ([sliding(DAY, 2, counts={"impression": 3})], [("starving", "r0")]),
        ([sliding(DAY, 2, headroom=[{"for": "high", "slots": 2}])], [("starving", "r0")]),
        ([sliding(DAY, 2, headroom=[{"for": "high", "slots": 1}])], []),
        ([sliding(DAY, 2, exempt={"class": "high", "quota": {
            "window": {"kind": "sliding", "ms": DAY}, "limit": 0}})], [("starving", "r0")]),
        ([calendar("week", 5), calendar("month", 4)], [("contradictory", "r0")]),
        ([calendar("week", 2), calendar("month", 4)], []),
        ([sliding(91 * DAY, 2)], [("horizon", "r0")]),
        ([sliding(DAY, 2, counts={"reservation": 0})], [("hold", "r0")]),
    ],
)  # fmt: skip
def test_every_oddity_is_named_and_nothing_else(
    parts: list[dict[str, object]], remarks: list[tuple[str, str]]
):
    assert kinds(rules(*parts)) == remarks


def test_quiet_hours_that_leave_no_minute_starve_their_surface():
    day = {"id": "day", "from": "08:00", "to": "20:00", **NINE_TO_NINE}
    night = {"id": "night", "from": "20:00", "to": "08:00", **NINE_TO_NINE}
    document = {"schema": 1, "surfaces": {"push": {"interruptive": True}}, "rules": []}

    assert kinds(Rules.parse({**document, "quiet_hours": [day, night]})) == [
        ("starving", "day, night")
    ]
    assert kinds(Rules.parse({**document, "quiet_hours": [night]})) == []


def test_the_default_rules_and_their_kind_are_clean():
    assert lint(Rules.default()) == ()


def crowded(seed: int) -> Rules:
    """Random rules, several of which are about the same."""
    chance = random.Random(seed)
    alike = [random_rule(chance, 0)] * 2 + [random_rule(chance, 0)]
    parts = [dict(chance.choice(alike), id=f"r{n}") for n in range(3)]
    for part in parts:
        if part.get("limit"):
            part["limit"] = chance.randint(1, 4)
        window = part["window"]
        if isinstance(window, dict) and "ms" in window:
            part["window"] = {**window, "ms": chance.choice((HOUR, DAY))}
    return Rules.parse(
        {
            "schema": 1,
            "surfaces": {"home": {}, "push": {"interruptive": True}},
            "rules": parts,
        }
    )


def picks_of(found: Rules, seed: int) -> list[list[str]]:
    """What a life is granted under `found`."""
    chance, device, picks = random.Random(seed), Device(found), []
    items = random_items(chance)
    for _ in range(12):
        device.wait(chance.choice((0, 60_000, HOUR, 5 * HOUR, DAY)))
        decision = device.decide(chance.choice(("home", "push")), 1, items)
        picks.append([pick.item.id for pick in decision.picks])
        if decision.picks and chance.random() < 0.8:
            device.engine.confirm(decision.picks[0].reservation_id)
    return picks


def test_a_shadowed_or_unreachable_rule_can_be_left_out_and_nothing_changes():
    dropped = 0
    for seed in range(400):
        found = crowded(seed)
        idle = {r.rule_id for r in lint(found) if r.kind in ("shadowed", "unreachable")}
        if idle:
            kept = tuple(rule for rule in found.rules if rule.id not in idle)
            less = Rules(kept, found.surfaces)
            assert picks_of(found, seed) == picks_of(less, seed), (seed, found.rules)
            dropped += 1
    assert dropped > 100


def test_a_starving_rule_grants_nothing():
    starved = 0
    for seed in range(300):
        found = random_rules(random.Random(seed))
        for remark in lint(found):
            if remark.kind == "starving" and "for good" in remark.text:
                (rule,) = (rule for rule in found.rules if rule.id == remark.rule_id)
                everyone = Rules.parse(
                    {"schema": 1, "rules": [{"id": "r", "key": list(rule.key), "reason_code": "R",
                     "window": {"kind": "decay", "half_life_ms": DAY, "budget": 1.0}}]}
                )  # fmt: skip
                assert picks_of(everyone, seed) == [[]] * 12
                starved += 1
    assert starved > 3
