"""What a training costs one device: CPU from its items to sealed reports, measured here."""

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
from tactful_lab.simulation.population import Ints, RoundInfo

PEOPLE = 3  # measured, after one to warm up


def device_seconds(dataset: Dataset, users: Ints, rounds: Sequence[RoundInfo]) -> float:
    """CPU seconds of one person's reports in all `rounds`: the mean over a few of `users`.

    Vector, encoding, shares, proofs and seals are what a device does; its vault, its caps and the
    network are not counted.
    """
    some = dataset.histories(np.resize(users, PEOPLE + 1))
    return sum(_seconds(here, some, dataset.items) for here in rounds)


def _seconds(here: RoundInfo, histories: Sequence[Ints], n: int) -> float:
    key = HpkeConfig(1, X25519PrivateKey.generate().public_key().public_bytes_raw())
    task = _task(here)
    for place, items in enumerate(histories):
        if place == 1:
            started = time.process_time()
        vector = contribution(here.kind, items, n, here.guide)
        levels = here.encoding.encode(vector[None, :], secrets.token_bytes)[0].astype(
            np.int64
        )
        make_report(task, levels, leader=key, helper=key, now=0)
    return (time.process_time() - started) / PEOPLE


def _task(here: RoundInfo) -> DapTask:
    return DapTask(
        id=here.encoding.seed,
        dap=DAP_18,
        leader="https://leader.example",
        helper="https://helper.example",
        time_precision=3_600,
        min_batch_size=1,
        mode=LEADER_SELECTED,
        opens=0,
        expires=3_600,
        vdaf_config=here.vdaf_config,
        info=here.encoding.seed,
    )
