"""Timing of complete aggregation rounds over loopback: `tactful-lab round`.

Leader, helper and collector are separate processes. Each device encodes, shards,
proves, seals and uploads; both aggregators verify each proof; the collector opens both
shares of the sum and decodes it. `cpu_s_per_round` counts all of these processes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from tactful.errors import InvalidInput, TactfulError
from tactful.protocol.dap.dap_task import DapTask, encoded
from tactful.protocol.dap.report_upload import fetch_hpke_config, make_report, upload
from tactful.protocol.dap.vdaf_config import pine64_for, sum_vec_field64_for
from tactful.protocol.transport import HttpTransport
from tactful.protocol.vector_encoding import Encoding
from tactful.vdaf.version import VDAF_18
from tactful_aggregator.dap.collector import Collector
from tactful_aggregator.task_registry import OperatorTask
from tactful_aggregator.testing import RunningAggregator, RunningPair, running_pair

LEVELS, BOX, PROOFS = 14, 3, 3
VDAFS = ("sum_vec_field64", "pine64")
COLLECTOR = "collector"  # argument of the collector process; only shown in `ps`
CONFIG_ID = 1
TOLERANCE = 0.2  # relative error of a sum without noise, from rounding to 14 levels


@dataclass(frozen=True)
class Figures:
    """The figures of one run."""

    clients: int
    length: int
    vdaf: str
    rounds: int
    best_round_s: float
    cpu_s_per_round: float
    cpu_ms_per_client: float
    upload_bytes_per_client: int


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab round`."""
    summary = "time complete aggregation rounds over loopback"
    parser = subparsers.add_parser("round", help=summary, description=summary)
    parser.add_argument(
        "--clients", type=int, default=10, help="devices; default: %(default)s"
    )
    parser.add_argument(
        "--length",
        type=int,
        default=65_536,
        help="numbers per vector; default: %(default)s",
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--vdaf", choices=VDAFS, default=VDAFS[0], help="default: %(default)s"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the figures as JSON"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab round` and return its exit status.

    Raises TactfulError if a released sum differs from the sum of the vectors.
    """
    for name, most in (("clients", 10_000), ("length", 1 << 20), ("rounds", 100)):
        value = getattr(options, name)
        if not 1 <= value <= most:
            raise InvalidInput(
                f"--{name}", f"{value} is out of range", f"use 1 to {most}"
            )
    figures = measure(options.clients, options.length, options.rounds, options.vdaf)
    text = json.dumps(asdict(figures), indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n")
    print(text)
    return 0


def measure(clients: int, length: int, rounds: int, vdaf: str) -> Figures:
    """Run all rounds on one pair of aggregators and return the best figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_pair(folder, min_batch_floor=1, min_count_floor=1) as pair:
            measurements = [
                _measure_round(pair, folder, clients, length, vdaf)
                for _ in range(rounds)
            ]
    cpu = min(measurement.cpu_seconds for measurement in measurements)
    seconds = min(measurement.seconds for measurement in measurements)
    return Figures(
        clients=clients,
        length=length,
        vdaf=vdaf,
        rounds=rounds,
        best_round_s=round(seconds, 3),
        cpu_s_per_round=round(cpu, 3),
        cpu_ms_per_client=round(1000 * cpu / clients, 1),
        upload_bytes_per_client=measurements[0].upload_bytes,
    )


@dataclass(frozen=True)
class _RoundMeasurement:
    seconds: float
    cpu_seconds: float
    upload_bytes: int


def _measure_round(
    pair: RunningPair, folder: Path, clients: int, length: int, vdaf: str
) -> _RoundMeasurement:
    """Run and time one round; raise TactfulError if its sum is wrong."""
    key, operator_task = _serve_task(pair, clients, length, vdaf)
    task = operator_task.provisioned.task
    encoding = Encoding(length, LEVELS, BOX, task.id)
    vectors = np.random.default_rng(clients).standard_normal((clients, length))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    aggregators_start, started = _aggregators_cpu(pair), time.perf_counter()
    own_start = time.process_time()
    report_size = _upload_all(task, encoding, vectors, vdaf)
    total, collector_cpu = _run_collector(folder, pair, operator_task, key)
    # PINE measurements are centred on 0, those of SumVec start at 0.
    offset = clients * LEVELS // 2 if vdaf == "pine64" else 0
    decoded = encoding.decode(total + offset, clients)
    seconds = time.perf_counter() - started
    own_cpu = time.process_time() - own_start
    aggregators_cpu = _aggregators_cpu(pair) - aggregators_start
    distance = float(np.linalg.norm(decoded - vectors.sum(axis=0)))
    error = distance / math.sqrt(clients)
    if error > TOLERANCE:
        raise TactfulError(
            f"round: the relative error of the sum is {error:.2f}, "
            f"more than the {TOLERANCE} that rounding explains"
        )
    cpu_seconds = own_cpu + collector_cpu + aggregators_cpu
    return _RoundMeasurement(seconds, cpu_seconds, report_size)


def _upload_all(
    task: DapTask, encoding: Encoding, vectors: NDArray[np.float64], vdaf: str
) -> int:
    """Upload the report of each device in turn; return the size of one report."""
    transport, report_size = HttpTransport(), 0
    for vector in vectors:
        leader = fetch_hpke_config(transport, task.leader)
        helper = fetch_hpke_config(transport, task.helper)
        encoded_vector = encoding.encode(vector[None, :], secrets.token_bytes)[0]
        levels = encoded_vector.astype(np.int64)
        measurement = levels - LEVELS // 2 if vdaf == "pine64" else levels
        now = int(time.time())
        report = make_report(task, measurement, leader=leader, helper=helper, now=now)
        body = report.encode(task.dap)
        upload(transport, task, [body])
        report_size = len(body)
    return report_size


def _serve_task(
    pair: RunningPair, clients: int, length: int, vdaf: str
) -> tuple[X25519PrivateKey, OperatorTask]:
    """Provision a task of one batch at both aggregators; return it with its key.

    The task has no noise, so that its sum can be checked.
    """
    encoding = Encoding(length, LEVELS, BOX, b"")
    padded = encoding.padded
    if vdaf == "pine64":
        config = pine64_for(padded, encoding.norm_bound, PROOFS)
    else:
        config = sum_vec_field64_for(padded, LEVELS, PROOFS)
    verify_key = secrets.token_bytes(config.vdaf(VDAF_18).verify_key_bytes)
    key, now = X25519PrivateKey.generate(), int(time.time())
    operator_task = OperatorTask(
        protocol="dap-18",
        leader=pair.leader.url,
        helper=pair.helper.url,
        time_precision=60,
        min_batch_size=clients,
        batch_mode="leader_selected",
        opens=now - 60,
        expires=now + 86_400,
        vdaf=config,
        info=f"round {secrets.token_hex(8)}",
        verify_key=encoded(verify_key),
        collector_config_id=CONFIG_ID,
        collector_key=encoded(key.public_key().public_bytes_raw()),
        noise="none",
    )
    pair.serve(operator_task)
    return key, operator_task


def _run_collector(
    folder: Path, pair: RunningPair, operator_task: OperatorTask, key: X25519PrivateKey
) -> tuple[NDArray[np.int64], float]:
    """Collect the sum in a process of its own; return it with the CPU seconds."""
    order = {
        "task": operator_task.document.decode(),
        "key": key.private_bytes_raw().hex(),
        "token": pair.leader.aggregator.keys.collector_token,
        "out": str(folder / "sum.npy"),
    }
    command = [sys.executable, "-m", "tactful_lab.studies.timed_round", COLLECTOR]
    completed = subprocess.run(
        command,
        input=json.dumps(order),
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    )
    return np.load(folder / "sum.npy"), float(completed.stdout)


def collect(order: Mapping[str, str]) -> None:
    """Collect one batch into the file `out` and print the CPU seconds of this process.

    `order` has the task, the collector's key and token, and the path `out`.
    """
    task = OperatorTask.parse(order["task"].encode()).provisioned.task
    key = X25519PrivateKey.from_private_bytes(bytes.fromhex(order["key"]))
    collector = Collector(task, CONFIG_ID, key, order["token"])
    result = collector.collect(HttpTransport(), collector.everything(), _short_sleep)
    total = np.array(task.vdaf.field.signed(result.total), dtype=np.int64)
    np.save(order["out"], total)
    print(time.process_time())


def _short_sleep(seconds: float) -> None:
    """Sleep less than the server asks, so that polling does not dominate the time."""
    time.sleep(min(seconds, 0.05))


def _aggregators_cpu(pair: RunningPair) -> float:
    """Return the CPU seconds of both aggregators so far."""
    return _process_cpu(pair.leader) + _process_cpu(pair.helper)


def _process_cpu(aggregator: RunningAggregator) -> float:
    if aggregator.process is None:
        return 0.0
    try:
        stat = Path(f"/proc/{aggregator.process.pid}/stat").read_text()
    except OSError as error:
        raise TactfulError(
            "round: CPU time of processes is not available; run this on Linux"
        ) from error
    # The name in parentheses may contain spaces. After it, fields 11 and 12 are user
    # and system time in clock ticks (proc(5): utime and stime).
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    collect(json.load(sys.stdin))
