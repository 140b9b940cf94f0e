"""Throughput of one leader process: reports per second, acknowledged after the commit.

`python benchmarks/upload_bench.py [seconds]` sends reports of about 1 kB and of 512 KiB
over loopback, one or several per request. It makes one real report before the
measurement and sends it with a new id each time over plain sockets, so that the sender
needs little CPU. It exits with status 1 if the leader refuses a report or stores none.

The rate per second depends on the disk and on other work of the machine. Two other
rates do not: reports per CPU second of the threads that receive and commit, and per CPU
second of the whole leader process. The helper is stopped, so the leader's workers
decrypt stored reports but cannot aggregate them.
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

CLIENTS = 64  # parallel connections, for short reports
CLIENTS_LONG = 16  # for long reports


@dataclass(frozen=True)
class Load:
    """The size of a report and the number of reports per request."""

    name: str
    length: int  # entries of the vector, of one bit each
    reports_per_request: int


LOADS = (
    Load("1 kB, one per request", 20, 1),
    Load("1 kB, 32 per request", 20, 32),
    Load("512 KiB, one per request", 62_000, 1),
)


def main(seconds: float) -> None:
    """Print one line for each load, and all figures as JSON."""
    results = {}
    for load in LOADS:
        with (
            tempfile.TemporaryDirectory() as folder,
            running_pair(Path(folder), min_batch_floor=1, min_count_floor=1) as pair,
        ):
            rates = measure(pair, load, seconds)
        results[load.name] = {name: round(rate) for name, rate in vars(rates).items()}
        print(
            f"{load.name:26}{rates.wall:7,.0f} per second; per CPU second: "
            f"{rates.receiving:7,.0f} of receiving threads, "
            f"{rates.leader:7,.0f} of the leader"
        )
    print(json.dumps(results))


@dataclass(frozen=True)
class Rates:
    """Acknowledged reports per second, and per CPU second of two groups of threads.

    `receiving` counts the threads that receive and commit, `leader` all threads.
    """

    wall: float
    receiving: float
    leader: float


def measure(pair: RunningPair, load: Load, seconds: float) -> Rates:
    """Send reports for some seconds and return the rates of the leader process."""
    task = serve_task(pair, load.length)
    body = report_without_id(pair, task)
    # Without the helper, no aggregation runs during the measurement.
    pair.helper.stop()
    size = load.reports_per_request * (16 + len(body))
    head = (
        f"POST /tasks/{task.encoded_id}/reports HTTP/1.1\r\nHost: leader\r\n"
        f"Content-Type: {task.dap.media_type('', 'upload-req')}\r\n"
        f"Content-Length: {size}\r\n\r\n"
    ).encode()
    clients = CLIENTS if len(body) < 1 << 16 else CLIENTS_LONG
    acknowledged = [0] * clients
    address = urlsplit(pair.leader.url)
    process = pair.leader.process
    if process is None:
        raise SystemExit("the leader is not running")
    cpu_before = _cpu_by_thread(process.pid)
    end = time.perf_counter() + seconds

    refusals: list[str] = []

    def send(client: int) -> None:
        host = (str(address.hostname), address.port or 80)
        with socket.create_connection(host) as leader:
            leader.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.perf_counter() < end and not refusals:
                reports = [
                    os.urandom(16) + body for _ in range(load.reports_per_request)
                ]
                leader.sendall(head + b"".join(reports))
                answer = leader.recv(1 << 16)
                if not answer.startswith(b"HTTP/1.1 201 "):
                    refusals.append(answer.decode("latin-1"))
                    return
                acknowledged[client] += load.reports_per_request

    threads = [
        threading.Thread(target=send, args=(client,)) for client in range(clients)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - started
    if refusals or not all(acknowledged):
        raise SystemExit(
            f"{load.name}: a report was refused: {refusals[:1] or 'no answer'}"
        )
    cpu = {
        thread: seconds_used - cpu_before.get(thread, 0.0)
        for thread, seconds_used in _cpu_by_thread(process.pid).items()
    }
    # Threads that existed before the first request are workers, except the main thread.
    workers_cpu = sum(
        seconds_used
        for thread, seconds_used in cpu.items()
        if thread in cpu_before and thread != process.pid
    )
    leader_cpu, total = sum(cpu.values()), sum(acknowledged)
    receiving_cpu = leader_cpu - workers_cpu
    return Rates(total / wall, total / receiving_cpu, total / leader_cpu)


def _cpu_by_thread(pid: int) -> dict[int, float]:
    """Return the CPU seconds of each thread of a process so far."""
    ticks_per_second = os.sysconf("SC_CLK_TCK")
    cpu = {}
    for folder in Path(f"/proc/{pid}/task").iterdir():
        # After the name in parentheses, fields 11 and 12 are user and system time.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        cpu[int(folder.name)] = ticks / ticks_per_second
    return cpu


def report_without_id(pair: RunningPair, task: DapTask) -> bytes:
    """Return a real report without its id.

    With another id its proof is wrong, but the leader stores it: proofs are verified
    later.
    """
    leader = fetch_hpke_config(pair.transport, task.leader)
    helper = fetch_hpke_config(pair.transport, task.helper)
    measurement = np.zeros(task.vdaf.output_length, dtype=np.int64)
    now = int(time.time())
    report = make_report(task, measurement, leader=leader, helper=helper, now=now)
    return report.encode(task.dap)[16:]


def serve_task(pair: RunningPair, length: int) -> DapTask:
    """Provision a task at both aggregators and return it."""
    now = int(time.time())
    collector_key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    operator_task = OperatorTask(
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
        collector_key=encoded(collector_key),
        noise="none",
    )
    pair.serve(operator_task)
    return operator_task.provisioned.task


def sum_vec_for(length: int) -> VdafConfig:
    """Return the VDAF of vectors with `length` entries of one bit."""
    return VdafConfig(kind="sum_vec", length=length, most=1, chunk=best_chunk(length))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
