"""Complete rounds over loopback, timed and counted: leader, helper and collector as processes.

Every device encodes, shards, proves, seals and uploads for itself; both halves verify every proof;
the collector opens both sums and decodes. `cpu_s_per_round` counts all of these processes.
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
from tactful.protocol.dap.collector import Collector
from tactful.protocol.dap.dap_task import DapTask, encoded
from tactful.protocol.dap.report_upload import fetch_hpke_config, make_report, upload
from tactful.protocol.dap.vdaf_config import pine64_for, sum_vec_field64_for
from tactful.protocol.transport import HttpTransport
from tactful.protocol.vector_encoding import Encoding
from tactful.vdaf.version import VDAF_18
from tactful_aggregator.task_registry import OperatorTask
from tactful_aggregator.testing import RunningAggregator, RunningPair, running_pair

LEVELS, BOX, PROOFS = 14, 3, 3
VDAFS = ("sum_vec_field64", "pine64")
COLLECTOR = (
    "collector"  # the argument with which this module runs as the collector's process
)
CONFIG_ID = 1
TOLERANCE = 0.2  # of the norm of a sum without noise: what 4 bits round away


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
    """Offer `tactful-lab round`."""
    parser = subparsers.add_parser("round", help="complete rounds over loopback, timed")
    parser.add_argument("--clients", type=int, default=10, help="default %(default)s")
    parser.add_argument(
        "--length", type=int, default=65_536, help="default %(default)s"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument(
        "--vdaf", choices=VDAFS, default=VDAFS[0], help="default %(default)s"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures there"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab round` does; fails if a round does not sum to what the devices have."""
    for name, most in (("clients", 10_000), ("length", 1 << 20), ("rounds", 100)):
        if not 1 <= getattr(options, name) <= most:
            raise InvalidInput(f"--{name}", "it is out of range", f"use 1 to {most}")
    figures = measure(options.clients, options.length, options.rounds, options.vdaf)
    text = json.dumps(asdict(figures), indent=1)
    if options.json is not None:
        options.json.write_text(text + "\n")
    print(text)
    return 0


def measure(clients: int, length: int, rounds: int, vdaf: str) -> Figures:
    """Run all rounds on one pair."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_pair(folder, min_batch_floor=1, min_count_floor=1) as pair:
            done = [_round(pair, folder, clients, length, vdaf) for _ in range(rounds)]
    cpu = min(one.cpu for one in done)
    return Figures(
        clients=clients,
        length=length,
        vdaf=vdaf,
        rounds=rounds,
        best_round_s=round(min(one.seconds for one in done), 3),
        cpu_s_per_round=round(cpu, 3),
        cpu_ms_per_client=round(1000 * cpu / clients, 1),
        upload_bytes_per_client=done[0].upload_bytes,
    )


@dataclass(frozen=True)
class _Done:
    seconds: float
    cpu: float
    upload_bytes: int


def _round(
    pair: RunningPair, folder: Path, clients: int, length: int, vdaf: str
) -> _Done:
    """One round: vectors in, their sum out, compared."""
    key, written = _provided(pair, clients, length, vdaf)
    task = written.provisioned.task
    encoding = Encoding(length, LEVELS, BOX, task.id)
    vectors = np.random.default_rng(clients).standard_normal((clients, length))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    before, started = _cpu(pair), time.perf_counter()
    own = time.process_time()
    size = _contributed(task, encoding, vectors, vdaf)
    total, seconds_of_collector = _collected(folder, pair, written, key)
    summed = encoding.decode(
        total + (clients * LEVELS // 2 if vdaf == "pine64" else 0), clients
    )
    seconds = time.perf_counter() - started
    cpu = time.process_time() - own + seconds_of_collector + _cpu(pair) - before
    wrong = float(np.linalg.norm(summed - vectors.sum(axis=0))) / math.sqrt(clients)
    if wrong > TOLERANCE:
        raise TactfulError(
            f"round: the sum is {wrong:.2f} off, rounding explains {TOLERANCE}"
        )
    return _Done(seconds, cpu, size)


def _contributed(
    task: DapTask, encoding: Encoding, vectors: NDArray[np.float64], vdaf: str
) -> int:
    """Every device's part, one device after the other; the size of a report."""
    transport, size = HttpTransport(), 0
    for vector in vectors:
        keys = [fetch_hpke_config(transport, url) for url in (task.leader, task.helper)]
        levels = encoding.encode(vector[None, :], secrets.token_bytes)[0].astype(
            np.int64
        )
        measurement = levels - LEVELS // 2 if vdaf == "pine64" else levels
        now = int(time.time())
        report = make_report(task, measurement, leader=keys[0], helper=keys[1], now=now)
        body = report.encode(task.dap)
        upload(transport, task, [body])
        size = len(body)
    return size


def _provided(
    pair: RunningPair, clients: int, length: int, vdaf: str
) -> tuple[X25519PrivateKey, OperatorTask]:
    """A task of one batch that both halves serve, without noise so that its sum can be checked."""
    encoding = Encoding(length, LEVELS, BOX, b"")
    padded = encoding.padded
    config = (
        pine64_for(padded, encoding.norm_bound, PROOFS)
        if vdaf == "pine64"
        else sum_vec_field64_for(padded, LEVELS, PROOFS)
    )
    key, now = X25519PrivateKey.generate(), int(time.time())
    written = OperatorTask(
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
        verify_key=encoded(secrets.token_bytes(config.vdaf(VDAF_18).verify_key_bytes)),
        collector_config_id=CONFIG_ID,
        collector_key=encoded(key.public_key().public_bytes_raw()),
        noise="none",
    )
    pair.serve(written)
    return key, written


def _collected(
    folder: Path, pair: RunningPair, written: OperatorTask, key: X25519PrivateKey
) -> tuple[NDArray[np.int64], float]:
    """The signed sum that the collector's process wrote, and its CPU seconds."""
    asked = {
        "task": written.document.decode(),
        "key": key.private_bytes_raw().hex(),
        "token": pair.leader.aggregator.keys.collector_token,
        "out": str(folder / "sum.npy"),
    }
    command = [sys.executable, "-m", "tactful_lab.studies.timed_round", COLLECTOR]
    done = subprocess.run(
        command, input=json.dumps(asked), text=True, stdout=-1, check=True
    )
    return np.load(folder / "sum.npy"), float(done.stdout)


def collect(asked: Mapping[str, str]) -> None:
    """The collector's process: create, poll, open, add; prints its CPU seconds."""
    task = OperatorTask.parse(asked["task"].encode()).provisioned.task
    key = X25519PrivateKey.from_private_bytes(bytes.fromhex(asked["key"]))
    collector = Collector(task, CONFIG_ID, key, asked["token"])
    found = collector.collect(HttpTransport(), collector.everything(), _doze)
    np.save(asked["out"], np.array(task.vdaf.field.signed(found.total), dtype=np.int64))
    print(time.process_time())


def _doze(seconds: float) -> None:
    time.sleep(min(seconds, 0.05))


def _cpu(pair: RunningPair) -> float:
    """The CPU seconds of both halves so far."""
    return _seconds(pair.leader) + _seconds(pair.helper)


def _seconds(half: RunningAggregator) -> float:
    if half.process is None:
        return 0.0
    try:
        fields = (
            Path(f"/proc/{half.process.pid}/stat")
            .read_text()
            .rpartition(")")[2]
            .split()
        )
    except OSError as absent:
        raise TactfulError("round: CPU time is counted on Linux only") from absent
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    collect(json.load(sys.stdin))
