"""Random lives of a device, told to the engine and to the oracle alike."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from cap_oracle import DAY, Oracle, Show, same

from tactful.device.caps import CapEngine, CapSubject, Moment, Owner, Rules
from tactful.device.catalog import Item
from tactful.device.clock import ManualClock
from tactful.device.device_key import HostKey
from tactful.device.events import Event
from tactful.device.vault import Vault

HOUR, MINUTE = 3_600_000, 60_000
ZONES = (
    "UTC", "Europe/Berlin", "Pacific/Auckland", "Pacific/Kiritimati", "Australia/Lord_Howe",
    "America/New_York", "Pacific/Pago_Pago", "Antarctica/Troll", "Africa/Cairo",
)  # fmt: skip
SURFACES = {
    "home": {"interruptive": False, "reservation_ttl_ms": 2 * MINUTE},
    "push": {"interruptive": True, "reservation_ttl_ms": DAY},
}
KEYS = (
    ["item"], ["item"], ["campaign"], ["category"], ["brand"], ["brand", "surface"], ["app"],
    ["family"], ["creative", "channel"], ["tag:promo"],
)  # fmt: skip
SPANS = (
    0,
    1,
    500,
    MINUTE,
    2 * MINUTE,
    2 * MINUTE + 1,
    HOUR,
    5 * HOUR,
    DAY - 1,
    DAY,
    3 * DAY,
    40 * DAY,
)


@dataclass
class OneProcess:
    """A device on which one process runs at a time."""

    pid: int = 1

    def me(self, boot_id: str | None) -> Owner:
        return Owner(boot_id, self.pid, 0)

    def alive(self, owner: Owner, boot_id: str | None) -> bool:
        return owner == self.me(boot_id)


def random_items(chance: random.Random) -> tuple[Item, ...]:
    return tuple(
        Item(
            id=f"i{number}",
            title="",
            category=chance.choice(("", "offers", "news")),
            brand=chance.choice(("x", "y")),
            campaign=chance.choice(("", "c1", "c2")),
            family=chance.choice(("", "f")),
            creative=chance.choice(("", "k")),
            tags=chance.choice(((), ("promo",), ("promo", "survey"))),
            item_class=chance.choice(("promo", "normal", "normal", "high", "critical")),
            replenishable=chance.random() < 0.3,
        )
        for number in range(chance.randint(1, 4))
    )


def random_window(chance: random.Random) -> dict[str, object]:
    kind = chance.choice(
        ("sliding", "sliding", "cooldown", "calendar", "calendar", "session", "lifetime",
         "every_nth", "decay")
    )  # fmt: skip
    match kind:
        case "sliding" | "cooldown":
            return {"kind": kind, "ms": chance.choice((MINUTE, HOUR, DAY, 7 * DAY))}
        case "calendar":
            unit = chance.choice(("day", "day", "week", "month"))
            more = {"week_start": chance.choice(("MO", "SU"))} if unit == "week" else {}
            zone = chance.choice(("device", "device", "Europe/Berlin"))
            return {
                "kind": kind,
                "unit": unit,
                "n": chance.choice((1, 1, 2)),
                "zone": zone,
                **more,
            }
        case "session":
            return {"kind": kind, "gap_ms": chance.choice((MINUTE, HOUR))}
        case "every_nth":
            return {"kind": kind, "n": chance.randint(1, 3)}
        case "decay":
            return {
                "kind": kind,
                "half_life_ms": DAY,
                "budget": chance.choice((1.0, 2.0, 4.5, 6.0)),
            }
        case _:
            return {"kind": kind}


def random_rule(chance: random.Random, number: int) -> dict[str, object]:
    window = random_window(chance)
    kind = window["kind"]
    rule: dict[str, object] = {
        "id": f"r{number}",
        "key": chance.choice(KEYS),
        "window": window,
        "reason_code": f"R{number}",
    }
    if chance.random() < 0.2:
        rule["partition"] = "device"
    if chance.random() < 0.3:
        rule["match"] = chance.choice(
            ({"surface": ["home"]}, {"surface": ["push"]}, {"tag": ["promo"]},
             {"category": ["offers", "news"], "brand": ["x"]}, {"class": ["promo"]})
        )  # fmt: skip
    if kind not in ("decay", "every_nth"):
        if chance.random() < 0.3:
            rule["min_evidence"] = chance.choice(("rendered", "attended"))
        if chance.random() < 0.3:
            rule["counts"] = chance.choice(
                ({"click": 1}, {"impression": 2}, {"reservation": 0},
                 {"impression": 0, "click": 1}, {"dismiss": 2})
            )  # fmt: skip
        if chance.random() < 0.15:
            quota = {
                "window": {"kind": "sliding", "ms": DAY},
                "limit": chance.choice((0, 1, 2)),
            }
            rule["exempt"] = {
                "class": chance.choice(("critical", "high")),
                "quota": quota,
            }
    if kind in ("sliding", "calendar", "session", "lifetime"):
        rule["limit"] = chance.choice((0, 1, 1, 2, 2, 3, 5, None))
        if chance.random() < 0.2:
            room: dict[str, object] = {
                "for": chance.choice(("normal", "high")),
                "slots": 1,
            }
            if kind == "calendar" and window["unit"] == "day" and chance.random() < 0.5:
                room["until"] = "18:00"
            rule["headroom"] = [room]
    return rule


def random_rules(chance: random.Random) -> Rules:
    rules = [random_rule(chance, number) for number in range(chance.randint(1, 3))]
    return Rules.parse({"schema": 1, "surfaces": SURFACES, "rules": rules})


@dataclass
class Life:
    """One schedule: an engine and an oracle live through the same."""

    seed: int
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.clock, self.processes = (
            ManualClock(zone=self.chance.choice(ZONES)),
            OneProcess(),
        )
        self.vault = Vault.open(None, HostKey(b"k" * 32))
        self.items, self.rules = random_items(self.chance), random_rules(self.chance)
        self.oracle, self.first_rules = Oracle(self.rules), self.rules
        self.engines = {who: self.started(who) for who in ("", "guest")}
        self.shows: list[tuple[str, Show]] = []
        self.kept: tuple[Moment, tuple[int, int]] | None = None

    def started(self, who: str) -> CapEngine:
        return CapEngine(
            self.vault,
            self.clock,
            self.rules,
            subject=who,
            processes=self.processes,
            durable=False,
        )

    def look(self) -> None:
        seen = self.clock.reading()
        self.oracle.look(seen.mono_ms, seen.wall_ms, str(seen.boot_id), seen.zone)
        self.oracle.sweep(self.processes.me(seen.boot_id))

    def run(self, steps: int) -> None:
        for _ in range(steps):
            step = self.chance.choice(STEPS)
            step(self)

    def decide(self) -> None:
        who = self.chance.choice(("", "", "", "guest"))
        surface, k = (
            self.chance.choice(("home", "home", "push")),
            self.chance.randint(1, 3),
        )
        self.look()
        engine = self.engines[who]
        owner = self.processes.me(self.clock.reading().boot_id)
        things = [CapSubject.of(item) for item in self.items]
        decision = engine.decide(self.items, k, surface)
        picks, refusals = self.oracle.decide(things, k, surface, who, owner)
        assert [p.item.id for p in decision.picks] == [
            self.items[n].id for n, _ in picks
        ], self
        found = [(d.item_id, d.reason_code) for d in decision.denials]
        assert found == [(self.items[n].id, code) for n, code, *_ in refusals], self
        for denial, (*_, used, limit) in zip(decision.denials, refusals, strict=True):
            assert same(denial.used, used), (self, denial, used)
            assert same(denial.limit, limit), (self, denial, limit)
        names = [pick.reservation_id for pick in decision.picks]
        self.shows += list(zip(names, [show for _, show in picks], strict=True))

    def confirm(self) -> None:
        if self.shows:
            name, show = self.chance.choice(self.shows[-4:])
            level = self.chance.choice((1, 2, 2, 3))
            self.look()
            handle, at = self.handle()
            new = self.oracle.confirm(show, level, at)
            evidence = ("rendered", "viewable", "attended")[level - 1]
            impression = self.engines[""].confirm(name, evidence, at=handle)
            assert impression.repeated != new, self
            assert not new or impression.late == show.ended, self

    def handle(self):
        """Now, or a moment that was taken earlier."""
        kept = self.chance.choice((None, None, None, self.kept))
        return kept or (None, None)

    def keep_moment(self) -> None:
        self.look()
        self.engines[
            ""
        ].maintenance.expire()  # only what is written down opens a segment
        self.kept = (self.engines[""].clock.moment(), self.oracle.now)

    def release(self) -> None:
        if self.shows:
            name, show = self.chance.choice(self.shows[-4:])
            self.look()
            assert self.engines[""].release(name) == self.oracle.release(show), self

    def react(self) -> None:
        kind = self.chance.choice(
            ("click", "click", "dismiss", "hide", "report", "convert")
        )
        scope = "brand" if kind == "hide" else None
        self.look()
        handle, at = self.handle()
        if self.shows and self.chance.random() < 0.7:
            name, show = self.chance.choice(self.shows[-4:])
            event = Event(
                kind=kind, reservation_id=name, scope=scope, event_id=self.new_id()
            )
            told = self.engines[show.subject], event, None, handle
            self.oracle.react(kind, show.thing, show.surface, show.subject, show, at)
        else:
            item = self.chance.choice(self.items)
            event = Event(
                kind=kind,
                item_id=item.id,
                scope=scope,
                surface="home",
                event_id=self.new_id(),
            )
            told = self.engines[""], event, item, handle
            self.oracle.react(kind, CapSubject.of(item), "home", "", None, at)
        for _ in range(self.chance.choice((1, 1, 2))):  # told twice, it counts once
            told[0].interact(told[1], told[2], at=told[3])

    def orphan(self) -> None:
        """A reaction to what this device never showed: kept, active, and nothing else."""
        self.look()
        self.engines[""].interact(
            Event(kind="dismiss", reservation_id="999999.0", event_id=self.new_id())
        )
        self.oracle.activity.append(("event", self.oracle.mark()))

    def mute(self) -> None:
        scope, value = self.chance.choice(
            (("brand", "x"), ("brand", "y"), ("item", "i0"))
        )
        for_ms = self.chance.choice((None, HOUR, 3 * DAY))
        self.look()
        self.engines[""].blocks.mute(scope, value, for_ms=for_ms)
        self.oracle.mutes.append(
            ("", scope, value, self.oracle.mark(), for_ms or math.inf)
        )

    def unmute(self) -> None:
        scope, value = self.chance.choice(
            (("brand", "x"), ("brand", "y"), ("item", "i0"))
        )
        who = self.chance.choice(("", "guest"))
        self.look()
        self.engines[who].blocks.unmute(scope, value)
        self.oracle.mutes.append((who, scope, value, None, 0))

    def new_id(self) -> str:
        return f"e{self.chance.getrandbits(64)}"

    def wait(self) -> None:
        self.clock.advance(self.chance.choice(SPANS))

    def push_wall(self) -> None:
        self.clock.push_wall(
            self.chance.choice((-30 * DAY, -DAY, -HOUR, HOUR, DAY, 400 * DAY))
        )

    def reboot(self) -> None:
        pushed = self.chance.choice((0, 0, 3 * DAY, -3 * DAY))
        self.clock.reboot(self.chance.choice(SPANS), pushed_ms=pushed)

    def travel(self) -> None:
        self.clock.zone = self.chance.choice((*ZONES, None))

    def restart(self) -> None:
        self.processes.pid += 1
        self.engines = {who: self.started(who) for who in self.engines}

    def edit_rules(self) -> None:
        old = self.chance.random() < 0.3
        rules = self.first_rules if old else random_rules(self.chance)
        self.rules = self.oracle.rules = rules
        for engine in self.engines.values():
            engine.use(rules)

    def session(self) -> None:
        self.look()
        self.engines[""].maintenance.start_session()
        self.oracle.activity.append(("start", self.oracle.mark()))


STEPS = (
    (Life.decide,) * 8 + (Life.confirm,) * 6 + (Life.react,) * 2 + (Life.wait,) * 5
    + (Life.release, Life.push_wall, Life.reboot, Life.travel, Life.restart, Life.edit_rules,
       Life.session, Life.keep_moment, Life.orphan, Life.mute, Life.unmute)
)  # fmt: skip


def live(seed: int, steps: int = 12) -> None:
    """One schedule; raises AssertionError with the seed if engine and oracle disagree."""
    Life(seed).run(steps)
