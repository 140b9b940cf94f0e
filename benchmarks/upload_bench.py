"""How many reports a second one leader process takes, each acknowledged after its commit.

`python benchmarks/upload_bench.py [seconds]`: reports of about 1 kB and of 512 KiB, one in a
request and several, over loopback. One real report of a sum of vectors is made before the clock
starts and sent under a new id each time to plain sockets, so that the sender costs little. The
benchmark fails (exit 1) if the leader refuses any report or stores none. Beside the wall, which
other work on the machine and its disk decide: reports for each CPU second of the threads that
receive and commit, and of the whole leader, whose workers open what was kept and find the helper
gone.
"""

import json
import os
import secrets
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.protocol.dap.dap_task import DapTask, encoded
from tactful.protocol.dap.report_upload import fetch_hpke_config, make_report
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful.vdaf.instances import best_chunk
from tactful_aggregator.task_registry import OperatorTask
from tactful_aggregator.testing import RunningPair, running_pair

CLIENTS = 64  # connections at once, for short reports
CLIENTS_LONG = 16


@dataclass(frozen=True)
class Load:
    """Reports of a size, some in each request."""

    name: str
    length: int  # entries of the vector, of one bit each
    together: int


LOADS = (
    Load("1 kB, one a request", 20, 1),
    Load("1 kB, 32 a request", 20, 32),
    Load("512 KiB, one a request", 62_000, 1),
)


def main(seconds: float) -> None:
    """Print one line for each load, and all as JSON."""
    results = {}
    for load in LOADS:
        with (
            tempfile.TemporaryDirectory() as folder,
            running_pair(Path(folder), min_batch_floor=1, min_count_floor=1) as pair,
        ):
            rates = measured(pair, load, seconds)
        results[load.name] = {name: round(rate) for name, rate in vars(rates).items()}
        print(
            f"{load.name:24}{rates.wall:8,.0f} a second, {rates.receiving:8,.0f} a CPU second of "
            f"receiving, {rates.leader:8,.0f} of the leader"
        )
    print(json.dumps(results))


@dataclass(frozen=True)
class Rates:
    """Reports acknowledged: a second, and a CPU second of receiving threads and of the leader."""

    wall: float
    receiving: float
    leader: float


def measured(pair: RunningPair, load: Load, seconds: float) -> Rates:
    """What one leader process takes."""
    task = provided(pair, load.length)
    body = report_without_id(pair, task)
    pair.helper.stop()  # nothing is settled meanwhile
    size = load.together * (16 + len(body))
    head = (
        f"POST /tasks/{task.encoded_id}/reports HTTP/1.1\r\nHost: leader\r\n"
        f"Content-Type: {task.dap.media_type('', 'upload-req')}\r\nContent-Length: {size}\r\n\r\n"
    ).encode()
    clients = CLIENTS if len(body) < 1 << 16 else CLIENTS_LONG
    taken = [0] * clients
    address = urlsplit(pair.leader.url)
    process = pair.leader.process
    if process is None:
        raise SystemExit("the leader does not run")
    idle = _threads(process.pid)
    until = time.perf_counter() + seconds

    refusals: list[str] = []

    def send(client: int) -> None:
        with socket.create_connection(
            (str(address.hostname), address.port or 80)
        ) as leader:
            leader.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.perf_counter() < until and not refusals:
                leader.sendall(
                    head + b"".join(os.urandom(16) + body for _ in range(load.together))
                )
                answer = leader.recv(1 << 16)
                if not answer.startswith(b"HTTP/1.1 201 "):
                    refusals.append(answer.decode("latin-1"))
                    return
                taken[client] += load.together

    threads = [
        threading.Thread(target=send, args=(client,)) for client in range(clients)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - started
    if refusals or not all(taken):
        raise SystemExit(
            f"{load.name}: a report was refused: {refusals[:1] or 'no answer'}"
        )
    busy = {
        name: used - idle.get(name, 0.0) for name, used in _threads(process.pid).items()
    }
    # those that were there before any request, but for the first, are the workers
    workers = sum(
        used for name, used in busy.items() if name in idle and name != process.pid
    )
    whole, total = sum(busy.values()), sum(taken)
    return Rates(total / wall, total / (whole - workers), total / whole)


def _threads(pid: int) -> dict[int, float]:
    """CPU seconds of each thread of a process so far."""
    used = {}
    for folder in Path(f"/proc/{pid}/task").iterdir():
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        used[int(folder.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf(
            "SC_CLK_TCK"
        )
    return used


def report_without_id(pair: RunningPair, task: DapTask) -> bytes:
    """Make a real report; under another id it still has the right length, and is stored."""
    leader, helper = (
        fetch_hpke_config(pair.transport, url) for url in (task.leader, task.helper)
    )
    measurement = np.zeros(task.vdaf.output_length, dtype=np.int64)
    now = int(time.time())
    report = make_report(task, measurement, leader=leader, helper=helper, now=now)
    return report.encode(task.dap)[16:]


def provided(pair: RunningPair, length: int) -> DapTask:
    """A task that both halves serve."""
    now = int(time.time())
    written = OperatorTask(
        protocol="dap-18",
        leader=pair.leader.url,
        helper=pair.helper.url,
        time_precision=3600,
        min_batch_size=1,
        batch_mode="time_interval",
        opens=now - 3600,
        expires=now + 86_400,
        vdaf=sum_vec_for(length),
        info="upload bench",
        verify_key=encoded(secrets.token_bytes(32)),
        collector_config_id=1,
        collector_key=encoded(
            X25519PrivateKey.generate().public_key().public_bytes_raw()
        ),
        noise="none",
    )
    pair.serve(written)
    return written.provision.task


def sum_vec_for(length: int) -> VdafConfig:
    """Return the type of vectors of `length` entries of one bit."""
    return VdafConfig(kind="sum_vec", length=length, most=1, chunk=best_chunk(length))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
