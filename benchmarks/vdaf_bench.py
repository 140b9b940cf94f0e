"""What a proof costs: CPU ms of one thread to shard, and to verify at each half; kB of a report.

`python benchmarks/vdaf_bench.py [length ...]`; times are the least of five, and each is also given
as a ratio to hashing the leader's share once with SHA-256, measured in the same run.
"""

import hashlib
import os
import secrets
import sys
import time
from collections.abc import Callable
from typing import TypeVar

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from tactful.errors import ProofRejected
from tactful.protocol.dap.messages import report_bytes
from tactful.protocol.dap.vdaf_config import VdafConfig, pine64_for, sum_vec_field64_for
from tactful.protocol.dap.versions import DAP_18
from tactful.protocol.vector_encoding import Encoding
from tactful.vdaf.vdaf import Received

T = TypeVar("T")
LEVELS, BOX, REPEATS = 14, 3, 5
HEADER = f"{'':24}{'length':>8}{'shard':>9}{'leader':>9}{'helper':>9}{'report kB':>11}{'shard/hash':>12}"


def main(lengths: list[int]) -> None:
    """Print the table."""
    print(HEADER)
    for length in lengths:
        bound = Encoding(length, LEVELS, BOX, b"").norm_bound
        measure("SumVec Field64 x 3", sum_vec_field64_for(length, LEVELS, 3), length)
        measure("PINE64", pine64_for(length, bound, 3), length)


def measure(name: str, config: VdafConfig, length: int) -> None:
    """One line of the table."""
    vdaf, key, nonce, context = (
        config.vdaf(DAP_18.vdaf),
        bytes(32),
        bytes(16),
        b"dap-18",
    )
    levels = np.random.default_rng(1).integers(6, 9, length)
    measurement = levels - LEVELS // 2 if config.kind == "pine64" else levels
    random = secrets.token_bytes(vdaf.random_bytes)
    shard, (public, shares) = least(
        lambda: vdaf.shard(measurement, nonce, random, context)
    )
    received = [Received(nonce, public, share) for share in shares]
    halves = [
        least(lambda agg=agg: vdaf.verify_init(key, agg, [received[agg]], context)[0])
        for agg in (0, 1)
    ]
    prepared = [one for _, one in halves]
    message = vdaf.verifier_message([share for _, share in prepared], context)
    if not all(state.bound for state, _ in prepared) or not message:
        raise ProofRejected("bench: an honest report was refused")
    hashed, _ = least(lambda: hashlib.sha256(shares[0]).digest())
    times = f"{shard:9.1f}{halves[0][0]:9.1f}{halves[1][0]:9.1f}"
    size = report_bytes(vdaf, DAP_18) / 1000
    print(f"{name:24}{length:8,}{times}{size:11.1f}{shard / hashed:12.1f}")


def least(work: Callable[[], T]) -> tuple[float, T]:
    """(CPU ms of the fastest of some runs, the result)."""
    best = float("inf")
    for _ in range(REPEATS):
        started = time.thread_time()
        result = work()
        best = min(best, time.thread_time() - started)
    return best * 1000, result


if __name__ == "__main__":
    main([int(one) for one in sys.argv[1:]] or [4_096, 16_384, 65_536])
