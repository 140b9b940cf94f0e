"""How many reports a second one leader process takes, each acknowledged after its commit.

`python benchmarks/upload_bench.py [seconds]`: reports of about 1 kB and of 512 KiB, one in a
request and several, over loopback; the reports are made before the clock starts.
"""

import json
import os
import secrets
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.protocol.dap_task import DapTask, encoded
from tactful.protocol.messages import HpkeCiphertext, Report, ReportMetadata
from tactful.protocol.transport import HttpTransport, Request
from tactful.protocol.vdaf_config import VdafConfig
from tactful_aggregator.provision import OperatorTask
from tactful_aggregator.testing import RunningPair, running_pair

CLIENTS = 16  # connections at once


@dataclass(frozen=True)
class Load:
    """Reports of a size, some in each request."""

    name: str
    payload: int
    together: int


LOADS = (
    Load("1 kB, one a request", 800, 1),
    Load("1 kB, 32 a request", 800, 32),
    Load("512 KiB, one a request", 512 << 10, 1),
)


def main(seconds: float) -> None:
    """Print one line for each load, and all as JSON."""
    results = {}
    for load in LOADS:
        with (
            tempfile.TemporaryDirectory() as folder,
            running_pair(Path(folder), min_batch_floor=1, min_count_floor=1) as pair,
        ):
            wall, cpu = rates(pair, load, seconds)
        results[load.name] = {"per_second": round(wall), "per_cpu_second": round(cpu)}
        print(f"{load.name:28}{wall:8,.0f} a second, {cpu:8,.0f} a CPU second of the leader")
    print(json.dumps(results))


def rates(pair: RunningPair, load: Load, seconds: float) -> tuple[float, float]:
    """Reports acknowledged per second, and per CPU second of the leader's process."""
    task = provided(pair)
    url = f"{task.leader}/tasks/{task.encoded_id}/reports"
    headers = {"Content-Type": task.dap.media_type("", "upload-req")}
    pair.helper.stop()  # nothing is settled meanwhile
    body = sealed(task, load.payload)
    taken = [0] * CLIENTS
    until = time.perf_counter() + seconds

    def send(client: int) -> None:
        transport = HttpTransport()
        while time.perf_counter() < until:
            many = b"".join(secrets.token_bytes(16) + body for _ in range(load.together))
            if transport.send(Request("POST", url, many, headers)).status != 201:
                raise SystemExit("a report was refused")
            taken[client] += load.together

    threads = [threading.Thread(target=send, args=(client,)) for client in range(CLIENTS)]
    started, before = time.perf_counter(), _cpu(pair)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = sum(taken)
    return total / (time.perf_counter() - started), total / (_cpu(pair) - before)


def _cpu(pair: RunningPair) -> float:
    """CPU seconds of the leader so far."""
    process = pair.leader.process
    if process is None:
        return 0.0
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sealed(task: DapTask, payload: int) -> bytes:
    """A report without its id; what is sealed in it does not matter to an upload."""
    now = task.wire_time(int(time.time()))
    ciphertext = HpkeCiphertext(1, bytes(32), secrets.token_bytes(payload))
    report = Report(ReportMetadata(bytes(16), now), b"", ciphertext, HpkeCiphertext(1, b"", b""))
    return report.encode(task.dap)[16:]


def provided(pair: RunningPair) -> DapTask:
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
        vdaf=VdafConfig(kind="count"),
        info="upload bench",
        verify_key=encoded(secrets.token_bytes(32)),
        collector_config_id=1,
        collector_key=encoded(X25519PrivateKey.generate().public_key().public_bytes_raw()),
        noise="none",
    )
    pair.serve(written)
    return written.provision.task


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
