"""Coverage-guided fuzzing of every decoder: `make fuzz SECONDS=300` (needs the extra `fuzz`).

A decoder answers any bytes with a message or a typed error; a crash, ten seconds or 64 MB for at
most 4 kB end the run and leave the bytes in out/fuzz. The decoders and tasks are those of the
Hypothesis tests. Atheris itself takes about 15 kB for each run, which is why the limit is by step.
"""

import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path

import atheris
from hypothesis import find

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "sdk" / "protocol" / "dap"))

with atheris.instrument_imports(include=["tactful"]):
    from test_messages import KINDS, TASKS

    from tactful.errors import TactfulError
    from tactful.protocol.documents import evidence
    from tactful.protocol.documents.model_release import (
        ModelRelease,
        SignedRelease,
        unpack,
    )
    from tactful.protocol.documents.task import SignedTask, Task
    from tactful.protocol.log import transcript
    from tactful.vdaf import instances
    from tactful.vdaf.vdaf import Received
    from tactful.vdaf.version import VDAF_08, VDAF_18

Decode = Callable[[bytes], object]
MOST_KB = 64 << 10
KEY, NONCE = b"k" * 32, b"n" * 16


def decoders() -> list[Decode]:
    """Whatever reads bytes that another party made."""
    messages = [
        lambda body, kind=kind, task=task: kind.decode(body, task)
        for kind in KINDS.values()
        for task in TASKS.values()
    ]
    documents: list[Decode] = [
        Task.parse,
        SignedTask.decode,
        ModelRelease.parse,
        SignedRelease.decode,
        unpack,
        evidence.parse,
        transcript.SignedCheckpoint.decode,
        transcript.Proof.decode,
        lambda body: transcript.parse(body.decode(errors="replace")),
        lambda body: transcript.BatchRecord.parse(body.decode(errors="replace")),
    ]
    return [*messages, *documents, *shares()]


def shares() -> list[Decode]:
    """Both halves' first step on a share that a client made up."""
    vdafs = [
        instances.count(VDAF_18),
        instances.sum_vec(VDAF_08, 4, 3, 3),
        instances.sum_vec_multiproof(VDAF_18, 4, 14, 3, 3),
        instances.histogram(VDAF_18, 4, 2),
    ]
    return [
        lambda body, vdaf=vdaf, half=half: vdaf.verify_init(
            KEY[: vdaf.verify_key_bytes], half, [Received(NONCE, body[:64], body[64:])]
        )
        for vdaf in vdafs
        for half in (0, 1)
    ]


DECODERS = decoders()


def once(body: bytes) -> None:
    """One decoder, chosen by the first byte, on the rest."""
    if not body:
        return
    before = _peak()
    with suppress(TactfulError):
        DECODERS[body[0] % len(DECODERS)](body[1:])
    if _peak() - before > MOST_KB:
        raise MemoryError("a short message took more than 64 MB")


def _peak() -> int:
    """The most memory that was held so far, in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def seed(corpus: Path) -> None:
    """Begin with messages that are whole: bytes found by chance seldom pass a length."""
    for number, (kind, task) in enumerate(product(KINDS.values(), TASKS.values())):
        value = find(kind.values(task), lambda _: True)
        (corpus / f"seed-{number}").write_bytes(
            bytes([number]) + kind.encode(value, task)
        )


if __name__ == "__main__":
    seed(Path(sys.argv[1]))
    atheris.Setup(sys.argv, once)
    atheris.Fuzz()
