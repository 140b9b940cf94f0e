"""A client that is not ours: the npm package @divviup/dap (DAP-09) reports to our pair.

`make interop` installs it and sets TACTFUL_INTEROP to the folder; with TACTFUL_CAPTURE set to a
file, what the client sent is written there with all that is needed to open it again.
"""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.protocol.dap.dap_task import encoded
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful.protocol.transport import HttpTransport
from tactful_aggregator.dap.collector import Collector
from tactful_aggregator.task_registry import OperatorTask
from tactful_aggregator.testing import RunningPair, running_pair

INSTALLED = os.environ.get("TACTFUL_INTEROP", "")
CAPTURE = os.environ.get("TACTFUL_CAPTURE", "")
UPLOAD = Path(__file__).with_name("upload.mjs")
HOUR = 3600

pytestmark = pytest.mark.skipif(
    not INSTALLED, reason="make interop installs the npm client"
)


@dataclass(frozen=True)
class Case:
    """One type: ours, the client's name for it, measurements and their sum."""

    config: VdafConfig
    theirs: dict[str, object]
    measurements: Sequence[object]
    total: object


CASES = {
    "count": Case(
        VdafConfig(kind="count"), {"type": "count"}, [True, False, True, True], 3
    ),
    "sum": Case(
        VdafConfig(kind="sum", most=255),
        {"type": "sum", "bits": 8},
        [1, 255, 99, 0],
        355,
    ),
    "sum_vec": Case(
        VdafConfig(kind="sum_vec", length=32, most=255, chunk=16),
        {"type": "sumVec", "length": 32, "bits": 8, "chunkLength": 16},
        [[place % 256 for place in range(32)], [255] * 32, [0] * 32],
        [place % 256 + 255 for place in range(32)],
    ),
    "histogram": Case(
        VdafConfig(kind="histogram", length=11, chunk=3),
        {"type": "histogram", "length": 11, "chunkLength": 3},
        [2, 2, 10, 0, 2],
        [1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1],
    ),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPair]:
    folder = tmp_path_factory.mktemp("interop")
    with running_pair(folder, min_batch_floor=2, min_count_floor=2) as running:
        yield running


@pytest.mark.parametrize("name", CASES)
def test_the_collector_gets_the_exact_sum_of_what_the_client_sent(
    pair: RunningPair, name: str
) -> None:
    case, now, key = CASES[name], int(time.time()), X25519PrivateKey.generate()
    verify_key = secrets.token_bytes(16)
    written = OperatorTask(
        protocol="dap-09",
        leader=pair.leader.url,
        helper=pair.helper.url,
        time_precision=HOUR,
        min_batch_size=2,
        batch_mode="time_interval",
        opens=now - HOUR,
        expires=now + 24 * HOUR,
        vdaf=case.config,
        info=name,
        verify_key=encoded(verify_key),
        collector_config_id=9,
        collector_key=encoded(key.public_key().public_bytes_raw()),
        noise="none",
        id=encoded(secrets.token_bytes(32)),
    )
    pair.serve(written)

    reports = uploaded(written, case)
    task = written.provisioned.task
    collector = Collector(task, 9, key, pair.leader.aggregator.keys.collector_token)
    found = collector.collect(HttpTransport(), collector.everything(), time.sleep)

    assert found.count == len(case.measurements)
    assert task.vdaf.decode(found.total) == case.total
    if CAPTURE:
        capture(pair, name, written, case, reports)


def uploaded(written: OperatorTask, case: Case) -> list[str]:
    """What the client sent, in hex."""
    spec = {
        "id": written.id,
        "leader": written.leader,
        "helper": written.helper,
        "timePrecisionSeconds": written.time_precision,
        **case.theirs,
    }
    argument = json.dumps({"task": spec, "measurements": case.measurements})
    done = subprocess.run(
        ["node", "--input-type=module", "-", argument],
        input=UPLOAD.read_text(),
        cwd=INSTALLED,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sent: list[str] = json.loads(done.stdout)
    return sent


def capture(
    pair: RunningPair,
    name: str,
    written: OperatorTask,
    case: Case,
    reports: Sequence[str],
) -> None:
    path = Path(CAPTURE)
    captured = json.loads(path.read_text()) if path.exists() else {}
    captured[name] = {
        "task": json.loads(written.document),
        "leader_key": pair.leader.aggregator.keys.hpke.hex(),
        "helper_key": pair.helper.aggregator.keys.hpke.hex(),
        "reports": list(reports),
        "measurements": case.measurements,
        "total": case.total,
    }
    path.write_text(json.dumps(captured, indent=1) + "\n")
