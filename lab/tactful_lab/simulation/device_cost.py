"""CPU time of a training on one device, from its items to encrypted reports."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.learning.client.contribution import contribution
from tactful.protocol.dap.dap_task import LEADER_SELECTED, DapTask
from tactful.protocol.dap.messages import HpkeConfig
from tactful.protocol.dap.report_upload import make_report
from tactful.protocol.dap.versions import DAP_18
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.simulation.population import Ints, SimulatedRound

MEASURED_PEOPLE = 3  # after one person to warm up


def device_seconds(
    dataset: Dataset, users: Ints, rounds: Sequence[SimulatedRound]
) -> float:
    """Return the CPU seconds of one person's reports in all `rounds`.

    It is a mean over a few of `users`. Vector, encoding, shares, proofs and encryption
    are counted; vault, frequency caps and network are not.
    """
    histories = dataset.histories(np.resize(users, MEASURED_PEOPLE + 1))
    return sum(_seconds(current, histories, dataset.items) for current in rounds)


def _seconds(current: SimulatedRound, histories: Sequence[Ints], n: int) -> float:
    key = HpkeConfig(1, X25519PrivateKey.generate().public_key().public_bytes_raw())
    task = _task(current)
    for number, items in enumerate(histories):
        # The first person fills caches and is not counted.
        if number == 1:
            started = time.process_time()
        vector = contribution(current.kind, items, n, current.guide)
        encoded = current.encoding.encode(vector[None, :], secrets.token_bytes)[0]
        make_report(task, encoded.astype(np.int64), leader=key, helper=key, now=0)
    return (time.process_time() - started) / MEASURED_PEOPLE


def _task(current: SimulatedRound) -> DapTask:
    return DapTask(
        id=current.encoding.seed,
        dap=DAP_18,
        leader="https://leader.example",
        helper="https://helper.example",
        time_precision=3_600,
        min_batch_size=1,
        mode=LEADER_SELECTED,
        opens=0,
        expires=3_600,
        vdaf_config=current.vdaf_config,
        info=current.encoding.seed,
    )
