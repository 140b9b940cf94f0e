"""Cost of VDAF proofs: CPU time to shard and to verify, and the size of a report.

`python benchmarks/vdaf_bench.py [length ...]`. Times are CPU milliseconds of one
thread, the least of five. The last column is the time to shard, divided by the time of
one SHA-256 of the leader's share in the same run.
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
HEADER = (
    f"{'':24}{'length':>8}{'shard':>9}{'leader':>9}{'helper':>9}"
    f"{'report kB':>11}{'shard/hash':>12}"
)


def main(lengths: list[int]) -> None:
    """Print the table."""
    print(HEADER)
    for length in lengths:
        bound = Encoding(length, LEVELS, BOX, b"").norm_bound
        measure("SumVec Field64 x 3", sum_vec_field64_for(length, LEVELS, 3), length)
        measure("PINE64", pine64_for(length, bound, 3), length)


def measure(name: str, config: VdafConfig, length: int) -> None:
    """Print one line of the table; raise ProofRejected if an honest report fails."""
    vdaf = config.vdaf(DAP_18.vdaf)
    key, nonce, context = bytes(32), bytes(16), b"dap-18"
    levels = np.random.default_rng(1).integers(6, 9, length)
    measurement = levels - LEVELS // 2 if config.kind == "pine64" else levels
    random = secrets.token_bytes(vdaf.random_bytes)
    shard_ms, (public, shares) = least(
        lambda: vdaf.shard(measurement, nonce, random, context)
    )
    leader_input, helper_input = (Received(nonce, public, share) for share in shares)
    leader_ms, (leader_state, leader_share) = least(
        lambda: vdaf.verify_init(key, 0, [leader_input], context)[0]
    )
    helper_ms, (helper_state, helper_share) = least(
        lambda: vdaf.verify_init(key, 1, [helper_input], context)[0]
    )
    message = vdaf.verifier_message([leader_share, helper_share], context)
    if not (leader_state.bound and helper_state.bound and message):
        raise ProofRejected("bench: an honest report was refused")
    hash_ms, _ = least(lambda: hashlib.sha256(shares[0]).digest())
    kilobytes = report_bytes(vdaf, DAP_18) / 1000
    print(
        f"{name:24}{length:8,}{shard_ms:9.1f}{leader_ms:9.1f}{helper_ms:9.1f}"
        f"{kilobytes:11.1f}{shard_ms / hash_ms:12.1f}"
    )


def least(work: Callable[[], T]) -> tuple[float, T]:
    """Return the CPU milliseconds of the fastest of some runs, and the last result."""
    best = float("inf")
    for _ in range(REPEATS):
        started = time.thread_time()
        result = work()
        best = min(best, time.thread_time() - started)
    return best * 1000, result


if __name__ == "__main__":
    main([int(length) for length in sys.argv[1:]] or [4_096, 16_384, 65_536])
