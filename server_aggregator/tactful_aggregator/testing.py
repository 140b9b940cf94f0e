"""A real pair for tests and demonstrations: two processes with two folders on loopback."""

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

# Longest wait for a process to start or to end.
PATIENCE_SECONDS = 30.0


@dataclass
class RunningAggregator:
    """One aggregator as a process of its own."""

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
        """The base address."""
        return self.aggregator.settings.url

    def start(self) -> None:
        """Start the process, and wait until it responds."""
        folder = str(self.aggregator.folder)
        self.process = subprocess.Popen([*self.COMMAND, "--dir", folder])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._is_healthy():
            has_ended = self.process.poll() is not None
            if has_ended or time.monotonic() > deadline:
                role = self.aggregator.settings.role
                raise TransportError(
                    f"{self.url}: the {role} did not start; read its log"
                )
            time.sleep(0.05)

    def stop(self, stop_signal: signal.Signals = signal.SIGTERM) -> None:
        """Stop the process; `signal.SIGKILL` interrupts whatever it does."""
        if self.process is not None:
            self.process.send_signal(stop_signal)
            try:
                self.process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                # No process may outlive the test.
                self.process.kill()
                self.process.wait()
                raise
            finally:
                self.process = None

    def restart(self, stop_signal: signal.Signals = signal.SIGTERM) -> None:
        """Stop the process and start it again on the same folder."""
        self.stop(stop_signal)
        self.start()

    def _is_healthy(self) -> bool:
        try:
            return HttpTransport().send(Request("GET", f"{self.url}/healthz")).ok
        except TransportError:
            return False


@dataclass(frozen=True)
class RunningPair:
    """A running leader and helper, with the requests of the leader's operator."""

    leader: RunningAggregator
    helper: RunningAggregator
    transport: Transport

    def aggregators(self, model: str) -> dict[str, str]:
        """Return the values of a device's `aggregators` setting."""
        leader_document = self.leader.aggregator.pairing_document
        helper_document = self.helper.aggregator.pairing_document
        return {
            "model": model,
            "leader": self.leader.url,
            "helper": self.helper.url,
            "leader_key": leader_document.signing_key,
            "helper_key": helper_document.signing_key,
        }

    def serve(self, task: OperatorTask) -> None:
        """Serve an operator's task at both aggregators."""
        for running in (self.leader, self.helper):
            serve_operator_task(running.aggregator, task, int(time.time()))

    def start(self, training: Training) -> Mapping[str, object]:
        """Start a training."""
        return self._operate("/operator/trainings", _encode(training))

    def refresh(self, model: str) -> Mapping[str, object]:
        """Take the next step of a training; raises TactfulError with the leader's reason."""
        return self._operate(f"/operator/trainings/{model}/refresh")

    def open_experiment(self, opening: Opening) -> Mapping[str, object]:
        """Open a period of an experiment."""
        return self._operate("/operator/experiments", _encode(opening))

    def read_experiment(self, name: str) -> Mapping[str, object]:
        """Collect the open period of an experiment and return all results."""
        return self._operate(f"/operator/experiments/{name}")

    def resume_jobs(self) -> Mapping[str, object]:
        """Retry the jobs that the helper did not accept."""
        return self._operate("/operator/jobs/resume")

    def _operate(self, path: str, body: bytes = b"") -> Mapping[str, object]:
        leader = self.leader.aggregator
        response = operator_socket.request(leader, "POST", path, body)
        document: dict[str, object] = json.loads(response.body)
        if not response.ok:
            raise TactfulError(str(document.get("detail")))
        return document


def _encode(document: Training | Opening) -> bytes:
    return json.dumps(asdict(document)).encode()


@contextmanager
def running_pair(
    folder: Path, *, min_batch_floor: int, min_count_floor: int = 100
) -> Iterator[RunningPair]:
    """Run a leader and a helper in two folders below `folder` until the block ends."""
    leader_aggregator, helper_aggregator = create_pair(
        folder, min_batch_floor=min_batch_floor, min_count_floor=min_count_floor
    )
    leader = RunningAggregator(leader_aggregator)
    helper = RunningAggregator(helper_aggregator)
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
    """Create a paired leader and helper on free loopback ports, without running them."""
    roles: tuple[Role, Role] = ("leader", "helper")
    for role, port in zip(roles, free_ports(2), strict=True):
        settings = AggregatorSettings(
            role=role,
            url=f"http://127.0.0.1:{port}",
            min_batch_floor=min_batch_floor,
            min_count_floor=min_count_floor,
        )
        create(folder / role, settings)
    pair(folder / "leader", folder / "helper" / PAIRING_FILE)
    pair(folder / "helper", folder / "leader" / PAIRING_FILE)
    return load(folder / "leader"), load(folder / "helper")


def free_ports(count: int) -> list[int]:
    """Return free loopback ports, all different because they are bound at the same time."""
    sockets = [socket.socket() for _ in range(count)]
    for open_socket in sockets:
        open_socket.bind(("127.0.0.1", 0))
    ports = [int(open_socket.getsockname()[1]) for open_socket in sockets]
    for open_socket in sockets:
        open_socket.close()
    return ports
