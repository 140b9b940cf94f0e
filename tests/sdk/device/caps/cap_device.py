"""One device for laws: a vault in memory, a clock that obeys, and what truly happened beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cap_schedules import SURFACES, OneProcess
from hypothesis import strategies as st

from tactful.device.caps import CapEngine, Decision, Denial, Rules
from tactful.device.catalog import Item
from tactful.device.clock import ManualClock
from tactful.device.device_key import HostKey
from tactful.device.vault import Vault

SECOND, HOUR, DAY = 1000, 3_600_000, 86_400_000
ITEMS = tuple(
    Item(id=name, title=name, brand="x", campaign=name) for name in ("a", "b", "c")
)
SURFACE_NAMES = ("home", "push")
Step = tuple[str, int, int]


def rules(*parts: dict[str, object]) -> Rules:
    """A document of rules that each count items, unless they say otherwise."""
    documents = [
        {"id": f"r{n}", "key": ["item"], "reason_code": f"R{n}", **part}
        for n, part in enumerate(parts)
    ]
    return Rules.parse({"schema": 1, "surfaces": SURFACES, "rules": documents})


def sliding(ms: int, limit: int, **more: object) -> dict[str, object]:
    return {"window": {"kind": "sliding", "ms": ms}, "limit": limit, **more}


@dataclass
class Device:
    """An engine, and the true time of every grant."""

    rules: Rules
    clock: ManualClock = field(default_factory=ManualClock)
    processes: OneProcess = field(default_factory=OneProcess)
    vault: Vault = field(default_factory=lambda: Vault.open(None, HostKey(b"k" * 32)))
    true_ms: int = 0
    grants: list[tuple[int, str, str]] = field(
        default_factory=list
    )  # true time, item, surface
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = self.started()

    def started(self) -> CapEngine:
        return CapEngine(
            self.vault, self.clock, self.rules, processes=self.processes, durable=False
        )

    def decide(
        self, surface: str, k: int = 1, items: Sequence[Item] = ITEMS
    ) -> Decision[Item]:
        decision = self.engine.decide(items, k, surface)
        self.grants += [
            (self.true_ms, pick.item.id, surface) for pick in decision.picks
        ]
        self.names += [pick.reservation_id for pick in decision.picks]
        return decision

    def wait(self, ms: int) -> None:
        self.clock.advance(ms)
        self.true_ms += ms

    def off(self, ms: int, pushed_ms: int = 0) -> None:
        self.clock.reboot(ms, pushed_ms=pushed_ms)
        self.true_ms += ms

    def die(self) -> None:
        """The process is killed; another opens the same vault."""
        self.processes.pid += 1
        self.engine = self.started()

    def show_all(self) -> None:
        """Whatever was granted has been seen."""
        for name in self.names:
            self.engine.confirm(name)

    def answers(self) -> list[tuple[object, ...]]:
        """All that can be asked without side effects."""
        denied = [
            answer(denial)
            for item in ITEMS
            for surface in SURFACE_NAMES
            for denial in self.engine.explanations.why_not(item, surface)
        ]
        rooms = [
            room
            for item in ITEMS
            for room in self.engine.explanations.headroom(item, "home")
        ]
        return [*denied, *((r.rule_id, r.used, r.left) for r in rooms)]

    def do(self, step: Step) -> None:
        """One step of a schedule: what, and two numbers that it may use."""
        what, one, two = step
        match what:
            case "decide":
                self.decide(SURFACE_NAMES[one % 2], 1 + two % 3)
            case "confirm" if self.names:
                level = ("rendered", "viewable", "attended")[two % 3]
                self.engine.confirm(self.names[one % len(self.names)], level)
            case "wait":
                self.wait(one * 7 * 60 * SECOND)
            case "off":
                self.off(one * 60 * SECOND, (two - 500) * HOUR)
            case "push":
                self.clock.push_wall((one - 500) * HOUR)


def answer(denial: Denial) -> tuple[object, ...]:
    """A denial without the wall clock."""
    return (
        denial.item_id,
        denial.rule_id,
        denial.reason_code,
        denial.used,
        denial.wait_ms,
    )


def steps(*names: str) -> st.SearchStrategy[list[Step]]:
    """Schedules in which something is decided and shown between whatever is named."""
    numbers = st.integers(0, 1000)
    kinds = st.sampled_from(("decide", "decide", "confirm", "confirm", "wait", *names))
    return st.lists(st.tuples(kinds, numbers, numbers), min_size=8, max_size=25)
