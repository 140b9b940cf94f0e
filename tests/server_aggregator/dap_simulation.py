"""A pair under faults: a list of operations on one mock clock, and what may come of it.

Each report is its own one-hot vector, so a sum that holds a 2 counted one twice, a huge value
mixed shares of different batches, and a 1 of nobody's made one up. A report that was acknowledged
before its batch was asked for must be in it. Requests and answers are lost, processes are killed
before any SQL statement, keys are rotated, garbage is collected.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from dap_pair import HOUR, START, DapPair
from hypothesis import strategies as st
from sqlalchemy import event

from tactful.errors import BatchTooSmall, ProtocolError, ReportRejected, TransportError
from tactful.protocol.dap import report_upload as client
from tactful.protocol.dap.messages import Report
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful.protocol.transport import Request
from tactful_aggregator.app import Service
from tactful_aggregator.dap.collect_messages import Interval, Query
from tactful_aggregator.dap.collector import AggregateResult
from tactful_aggregator.jobs.leader_jobs import settle_next_job
from tactful_aggregator.jobs.worker import answer_collections

REPORTS = 40  # at most, each with its own place
HOURS = 4
CONFIG = VdafConfig(kind="sum_vec_field64", length=REPORTS, most=1, chunk=7, proofs=3)
FAULTS = st.sampled_from(
    ["", "", "", "request", "answer", "kill leader", "kill helper"]
)


@dataclass(frozen=True)
class Step:
    """One operation; `fault` happens at the `at`-th request or statement in it."""

    name: str
    number: int = 0
    fault: str = ""
    at: int = 0


REFUSALS = {
    "reportRejected",
    "batch_collected",
    "task_expired",
    "status 500",  # what a dying half answers
    "internal",
}
STEPS = "upload upload upload replay early unrounded wait settle settle start start poll poll"
names = st.sampled_from(
    [*STEPS.split(), "work", "work", "rotate", "garbage", "restart"]
)
steps = st.lists(
    st.builds(
        Step, name=names, number=st.integers(0, 5), fault=FAULTS, at=st.integers(1, 14)
    ),
    min_size=1,
    max_size=30,
)


class Killed(Exception):
    """The process is gone: nothing it still does reaches the disk."""


class Simulation:
    """A task, and everything that was said about it."""

    def __init__(
        self, folder: Path, protocol: str, places: tuple[str, str] | None = None
    ) -> None:
        self.pair = DapPair(folder, places)
        written = self.pair.task(protocol, CONFIG, expires=START + HOURS * HOUR)
        self.task = written.provisioned.task
        self.made: list[Report] = []
        self.acknowledged: dict[int, int] = {}  # place in the sum: hour of the report
        self.jobs: dict[tuple[int, int], tuple[str, set[int]]] = {}
        self.found: dict[tuple[int, int], list[int]] = {}
        self.asked: set[tuple[int, int]] = set()
        self.overlapped: set[tuple[int, int]] = set()  # another batch came first

    def run(self, steps: list[Step]) -> None:
        """Take every step, then let everything come to its end without faults, and compare."""
        try:
            for step in steps:
                self._take(step)
            self.pair.network.lose = lambda request: ""
            for job in list(self.jobs):
                self._settle_all()
                self._poll(job)
                ended = self.found.keys() | self.overlapped
                assert job in ended, "a collection never ends"
            for interval, total in self.found.items():
                self._judge(interval, total)
        finally:
            self.pair.close()

    def _take(self, step: Step) -> None:
        self.pair.network.lose = _losing(step)
        with suppress(TransportError, Killed), self._killing(step):
            getattr(self, f"do_{step.name}")(step)
        self.pair.network.lose = lambda request: ""

    @contextmanager
    def _killing(self, step: Step) -> Iterator[None]:
        """Kill a half before its `at`-th statement, and start it again afterwards."""
        if not step.fault.startswith("kill"):
            yield
            return
        service: Service = getattr(
            self.pair, f"{step.fault.removeprefix('kill ')}_service"
        )
        statements = 0

        def count(*_: object) -> None:
            nonlocal statements
            statements += 1
            if statements >= step.at:
                raise Killed

        engine = service.store._engine
        event.listen(engine, "before_cursor_execute", count)
        try:
            yield
        except ProtocolError:
            if statements < step.at:
                raise  # what a dying half answers is no answer
        finally:
            event.remove(engine, "before_cursor_execute", count)
            if statements >= step.at:
                self.pair.restart()

    # steps

    def do_upload(self, step: Step) -> None:
        for _ in range(min(step.number + 1, REPORTS - len(self.made))):
            place = len(self.made)
            report = self._report(place)
            self.made.append(report)
            self._send(place, report)

    def do_replay(self, step: Step) -> None:
        if self.made:
            place = (7 * step.number) % len(self.made)
            self._send(place, self.made[place])

    def do_early(self, step: Step) -> None:
        self._refused(self._report(0, self.pair.now + 5 * HOUR))

    def do_unrounded(self, step: Step) -> None:
        if self.task.dap.counted:
            report = self._report(0)
            odd = replace(report.metadata, time=report.metadata.time + 1)
            self._refused(replace(report, metadata=odd))

    def do_wait(self, step: Step) -> None:
        self.pair.now += (600, HOUR)[step.number % 2]

    def do_settle(self, step: Step) -> None:
        service = self.pair.leader_service
        settle_next_job(
            service.dependencies,
            service.worker.helper_client,
            service.registry.get(self.task.id),
        )

    def do_work(self, step: Step) -> None:
        service = self.pair.leader_service
        answer_collections(
            service.dependencies, service.worker.helper_client, service.registry
        )

    def do_start(self, step: Step) -> None:
        first = step.number % HOURS
        hours = (first, first + 1 + step.number // HOURS)
        before = {
            place
            for place, hour in self.acknowledged.items()
            if hours[0] <= hour < hours[1]
        }
        if hours in self.jobs:
            return
        self.asked.add(hours)
        try:
            url = self.pair.collector(self.task).create(
                self.pair.network, self._query(hours)
            )
        except BatchTooSmall:
            if before or self.pair.now < self.task.expires:
                raise
        except ProtocolError as refused:
            if not ("batchOverlap" in str(refused) or _killed(refused)):
                raise
        else:
            if before:
                self.jobs[hours] = url, before

    def do_poll(self, step: Step) -> None:
        jobs = sorted(self.jobs)
        if jobs:
            self._poll(jobs[step.number % len(jobs)])

    def do_rotate(self, step: Step) -> None:
        self.pair.rotate()

    def do_garbage(self, step: Step) -> None:
        self.pair.collect_garbage()

    def do_restart(self, step: Step) -> None:
        self.pair.restart()

    # parts of steps

    def _report(self, place: int, when: int | None = None) -> Report:
        one_hot = np.arange(REPORTS) == place
        keys = [
            service.dependencies.keyring.config
            for service in (self.pair.leader_service, self.pair.helper_service)
        ]
        return client.make_report(
            self.task,
            one_hot.astype(int),
            leader=keys[0],
            helper=keys[1],
            now=self.pair.now if when is None else when,
        )

    def _send(self, place: int, report: Report) -> None:
        hour = (self.task.seconds(report.metadata.time) - START) // HOUR
        try:
            client.upload(self.pair.network, self.task, [report.encode(self.task.dap)])
        except ReportRejected as refused:
            if refused.code not in REFUSALS:
                raise
        else:
            self.acknowledged.setdefault(place, hour)

    def _refused(self, report: Report) -> None:
        try:
            client.upload(self.pair.network, self.task, [report.encode(self.task.dap)])
        except ReportRejected:
            return
        raise AssertionError("a report out of its time was taken")

    def _query(self, hours: tuple[int, int]) -> Query:
        unit = self.task.dap.unit(HOUR)
        start = START + hours[0] * HOUR
        return Query(Interval(start // unit, (hours[1] - hours[0]) * HOUR // unit))

    def _poll(self, hours: tuple[int, int]) -> None:
        url, _ = self.jobs[hours]
        collector = self.pair.collector(self.task)
        try:
            found = collector.poll(self.pair.network, url, self._query(hours))
        except ProtocolError as refused:
            if _killed(refused):
                return
            legal = any(_overlap(hours, other) for other in self.asked)
            if not (legal and "batchOverlap" in str(refused)):
                raise
            self.overlapped.add(hours)
            return
        if isinstance(found, AggregateResult):
            total = self.task.vdaf.field.signed(found.total)
            assert found.count == sum(total)
            assert self.found.setdefault(hours, total) == total, (
                "two answers to one collection"
            )

    def _settle_all(self) -> None:
        with self.pair.leader_service.store.transaction() as tx:
            tx.jobs.resume_deferred(self.pair.now)
        for _ in range(3):
            self.do_work(Step("work"))

    def _judge(self, hours: tuple[int, int], total: list[int]) -> None:
        assert set(total) <= {0, 1}, "a report was counted twice, or shares were mixed"
        counted = {place for place, one in enumerate(total) if one}
        mine = {
            place
            for place, report in enumerate(self.made)
            if hours[0]
            <= (self.task.seconds(report.metadata.time) - START) // HOUR
            < hours[1]
        }
        assert counted <= mine, "a report of nobody's, or of another time, was counted"
        assert self.jobs[hours][1] <= counted, "an acknowledged report was lost"
        for other, another in self.found.items():
            shared = counted & {place for place, one in enumerate(another) if one}
            assert other == hours or not shared, "a report is in two sums"


def _losing(step: Step) -> object:
    """What loses the `at`-th request of a step."""
    seen = 0

    def lose(request: Request) -> str:
        nonlocal seen
        seen += 1
        return (
            step.fault if seen == 1 + step.at % 3 and "kill" not in step.fault else ""
        )

    return lose


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one != other and one[0] < other[1] and other[0] < one[1]


def _killed(refused: Exception) -> bool:
    return "internal" in str(refused) or "status 500" in str(refused)
