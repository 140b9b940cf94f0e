"""What attacks on a pair share: a small task, its reports and its collector."""

import secrets
import time

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.protocol.dap.dap_task import DapTask, encoded
from tactful.protocol.dap.report_upload import contribute
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful_aggregator.dap.collector import Collector
from tactful_aggregator.task_registry import OperatorTask
from tactful_aggregator.testing import RunningPair

COUNT = 2  # reports in a batch
CONFIG_ID = 5


def count_task(
    pair: RunningPair, *, min_batch_size: int = 1, helper: str = ""
) -> tuple[OperatorTask, X25519PrivateKey]:
    """A DAP-09 task without noise that both halves serve, and the key that opens its sums."""
    key, now = X25519PrivateKey.generate(), int(time.time())
    written = OperatorTask(
        protocol="dap-09",
        leader=pair.leader.url,
        helper=helper or pair.helper.url,
        time_precision=3600,
        min_batch_size=min_batch_size,
        batch_mode="leader_selected",
        opens=now - 3600,
        expires=now + 7200,
        vdaf=VdafConfig(kind="sum_vec_field64", length=2, most=1, chunk=2, proofs=3),
        info=secrets.token_hex(8),
        verify_key=encoded(secrets.token_bytes(32)),
        collector_config_id=CONFIG_ID,
        collector_key=encoded(key.public_key().public_bytes_raw()),
        noise="none",
        id=encoded(secrets.token_bytes(32)),
    )
    pair.serve(written)
    return written, key


def sent(pair: RunningPair, task: DapTask, count: int) -> None:
    """Report to the task so many times; returns once all are acknowledged."""
    for _ in range(count):
        contribute(pair.transport, task, [1, 0], int(time.time()))


def collector_of(pair: RunningPair, task: DapTask, key: X25519PrivateKey) -> Collector:
    """Who may collect the task."""
    return Collector(task, CONFIG_ID, key, pair.leader.aggregator.keys.collector_token)
