"""A real pair for tests and demonstrations: two processes, two folders, two keys, on loopback."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from tactful.errors import TactfulError, TransportError
from tactful.protocol.transport import HttpTransport, Request, Transport
from tactful_aggregator.serve import operator_socket
from tactful_aggregator.settings import (
    PAIRING_FILE,
    Aggregator,
    AggregatorSettings,
    Role,
    create,
    load,
    pair,
)
from tactful_aggregator.task_registry import OperatorTask, serve_operator_task
from tactful_aggregator.training.experiments import Opening
from tactful_aggregator.training.state import Training

PATIENCE_SECONDS = 30.0


@dataclass
class RunningAggregator:
    """One half as a process of its own."""

    COMMAND: ClassVar[tuple[str, ...]] = (
        sys.executable,
        "-m",
        "tactful_aggregator.cli",
        "serve",
    )
    aggregator: Aggregator
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its base address."""
        return self.aggregator.settings.url

    def start(self) -> None:
        """Run it, and wait until it answers."""
        self.process = subprocess.Popen(
            [*self.COMMAND, "--dir", str(self.aggregator.folder)]
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise TransportError(
                    f"{self.url}: the {self.aggregator.settings.role} did not start"
                )
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it; `signal.SIGKILL` ends it in the middle of whatever it does."""
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()  # nothing stays behind
                self.process.wait()
                raise
            finally:
                self.process = None

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and run it again on the same folder."""
        self.stop(how)
        self.start()

    def _answers(self) -> bool:
        try:
            return HttpTransport().send(Request("GET", f"{self.url}/healthz")).ok
        except TransportError:
            return False


@dataclass(frozen=True)
class RunningPair:
    """Leader and helper, and the operator's hand on the leader."""

    leader: RunningAggregator
    helper: RunningAggregator
    transport: Transport

    def aggregators(self, model: str) -> dict[str, str]:
        """What a device's settings need to know of the pair."""
        return {
            "model": model,
            "leader": self.leader.url,
            "helper": self.helper.url,
            "leader_key": self.leader.aggregator.pairing_document.signing_key,
            "helper_key": self.helper.aggregator.pairing_document.signing_key,
        }

    def serve(self, task: OperatorTask) -> None:
        """Let both halves serve an operator's task."""
        for running in (self.leader, self.helper):
            serve_operator_task(running.aggregator, task, int(time.time()))

    def start(self, training: Training) -> Mapping[str, object]:
        """Begin a training."""
        return self._operate(
            "/operator/trainings", json.dumps(asdict(training)).encode()
        )

    def refresh(self, model: str) -> Mapping[str, object]:
        """Take its next step; raises TactfulError with the leader's reason if it cannot."""
        return self._operate(f"/operator/trainings/{model}/refresh")

    def open_experiment(self, opening: Opening) -> Mapping[str, object]:
        """Open a period of an experiment."""
        return self._operate(
            "/operator/experiments", json.dumps(asdict(opening)).encode()
        )

    def read_experiment(self, name: str) -> Mapping[str, object]:
        """Collect its open period and read all of them."""
        return self._operate(f"/operator/experiments/{name}")

    def resume_jobs(self) -> Mapping[str, object]:
        """Try again what the helper did not take."""
        return self._operate("/operator/jobs/resume")

    def _operate(self, path: str, body: bytes = b"") -> Mapping[str, object]:
        answer = operator_socket.request(self.leader.aggregator, "POST", path, body)
        document: dict[str, object] = json.loads(answer.body)
        if not answer.ok:
            raise TactfulError(str(document.get("detail")))
        return document


@contextmanager
def running_pair(
    folder: Path, *, min_batch_floor: int, min_count_floor: int = 100
) -> Iterator[RunningPair]:
    """A leader and a helper that run until the block ends, in two folders below `folder`."""
    aggregators = create_pair(
        folder, min_batch_floor=min_batch_floor, min_count_floor=min_count_floor
    )
    leader, helper = (RunningAggregator(aggregator) for aggregator in aggregators)
    try:
        helper.start()
        leader.start()
        yield RunningPair(leader, helper, HttpTransport())
    finally:
        try:
            leader.stop()
        finally:
            helper.stop()


def create_pair(
    folder: Path, *, min_batch_floor: int, min_count_floor: int = 100
) -> tuple[Aggregator, Aggregator]:
    """A leader and a helper on free loopback ports, paired, not running."""
    roles: tuple[Role, Role] = ("leader", "helper")
    for role, port in zip(roles, _free_ports(2), strict=True):
        url = f"http://127.0.0.1:{port}"
        create(
            folder / role,
            AggregatorSettings(
                role=role,
                url=url,
                min_batch_floor=min_batch_floor,
                min_count_floor=min_count_floor,
            ),
        )
    pair(folder / "leader", folder / "helper" / PAIRING_FILE)
    pair(folder / "helper", folder / "leader" / PAIRING_FILE)
    return load(folder / "leader"), load(folder / "helper")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
