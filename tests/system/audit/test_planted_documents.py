"""Each fault planted in published documents is detected by the check named for it."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from tactful.audit.finding import Status
from tactful.audit.run import audit
from tactful.protocol.documents.evidence import Evidence, SeenCheckpoint
from tactful.protocol.documents.task import SignedTask
from tactful.protocol.log import transcript
from tactful.protocol.log.transcript import BatchRecord, SignedCheckpoint

from .conftest import check_result, documented, exported

Plant = Callable[[Evidence], Evidence]


def claim(**changes: object) -> Plant:
    return lambda honest: documented(
        honest, claim=replace(honest.documents.claim, **changes)
    )


def ledger(change: Callable[[dict], None]) -> Plant:
    """Change the first ledger, and hash and sign it anew as its owner could."""

    def plant(honest: Evidence) -> Evidence:
        first, *rest = honest.documents.ledgers
        return documented(honest, ledgers=(exported(first, change), *rest))

    return plant


def entries(change: Callable[[list[dict]], list[dict]]) -> Plant:
    def rewrite(document: dict) -> None:
        read = [json.loads(line) for line in document["entries"]]
        document["entries"] = [
            json.dumps(entry, sort_keys=True, separators=(",", ":"))
            for entry in change(read)
        ]

    return ledger(rewrite)


def upload(change: Callable[[dict], dict]) -> Plant:
    def plant(honest: Evidence) -> Evidence:
        first, *rest = honest.documents.uploads
        return documented(
            honest, uploads=(replace(first, **change(vars(first))), *rest)
        )

    return plant


def longer(fields: dict) -> dict:
    body = base64.b64decode(fields["body"])
    return {"body": base64.b64encode(body + b"item-7").decode()}


def edited_unsigned(honest: Evidence) -> Evidence:
    first, *rest = honest.documents.ledgers
    outer = json.loads(first)
    outer["document"] = outer["document"].replace('\\"time\\":1', '\\"time\\":2', 1)
    return documented(honest, ledgers=(json.dumps(outer), *rest))


def restored(honest: Evidence) -> Evidence:
    """The same ledger twice: once as it was, once put back and gone on otherwise."""

    def other_way(document: dict) -> None:
        last = json.loads(document["entries"][-1])
        changed = json.dumps(
            {**last, "time": last["time"] + 9}, sort_keys=True, separators=(",", ":")
        )
        document["entries"][-1] = changed

    first = honest.documents.ledgers[0]
    return documented(honest, ledgers=(first, exported(first, other_way)))


def unlogged_release(honest: Evidence) -> Evidence:
    kept = [line for line in honest.documents.log if '"release"' not in line]
    return documented(honest, log=tuple(kept))


def two_heads(honest: Evidence) -> Evidence:
    """The leader signs another history for one device: evidence is the signature itself."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tactful.protocol.documents.evidence import PublishedKeys

    leader = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = base64.b64encode(leader.public_key().public_bytes_raw()).decode()
    real = [transcript.parse(line) for line in honest.documents.log]
    forged = [replace(entry, sha256="0" * 64) for entry in real]
    heads = [transcript.signed(log, leader).encode() for log in (real, forged)]
    return documented(
        honest,
        keys=PublishedKeys(leader=public, helper=honest.documents.keys.helper),
        heads=tuple(
            SeenCheckpoint(seen_by=f"device {n}", checkpoint=head)
            for n, head in enumerate(heads)
        ),
        ledgers=(),
    )


def forked_log(honest: Evidence) -> Evidence:
    lines = list(honest.documents.log)
    lines[1] = replace(transcript.parse(lines[1]), sha256="0" * 64).encode()
    return documented(honest, log=tuple(lines))


def late_manifest(honest: Evidence) -> Evidence:
    """The first task is logged a day after reports for it had left."""
    first = transcript.parse(honest.documents.log[0])
    moved = [
        replace(transcript.parse(line), time=first.time + 90_000).encode()
        for line in honest.documents.log
    ]
    return documented(honest, log=tuple(moved))


def small_batch(honest: Evidence) -> Evidence:
    records = [BatchRecord.parse(text) for text in honest.documents.records]
    shrunk = [replace(record, count=3).document.decode() for record in records]
    return documented(honest, records=tuple(shrunk))


def float_sums(honest: Evidence) -> Evidence:
    generator = np.random.default_rng(0)
    noisy = {
        name: total + generator.standard_normal(len(total))
        for name, total in honest.sums.items()
    }
    return replace(honest, sums=noisy)


def stale_model(document: dict) -> None:
    document["newest"] = 2  # it had seen version 2, and uses version 1


def cohort_table(honest: Evidence) -> Evidence:
    """One cohort is asked about another item table than everybody else."""
    signed = SignedTask.decode(honest.documents.tasks[0].encode())
    other = replace(signed.task, catalog="f" * 64)
    body = SignedTask(other, signed.signatures).encode().decode()
    return documented(honest, tasks=(*honest.documents.tasks, body))


def small_noise(honest: Evidence) -> Evidence:
    """An edge parameter lets sigma fall to almost nothing."""
    bodies = []
    for text in honest.documents.tasks:
        signed = SignedTask.decode(text.encode())
        weak = replace(signed.task, sigma2="1/16")
        bodies.append(SignedTask(weak, signed.signatures).encode().decode())
    return documented(honest, tasks=tuple(bodies))


def refund(document: dict) -> None:
    document["entries"] = document["entries"][3:]


def float_rho(read: list[dict]) -> list[dict]:
    numerator, denominator = float(Fraction(read[0]["rho"])).as_integer_ratio()
    return [{**read[0], "rho": f"{numerator}/{denominator}"}, *read[1:]]


def after_send(read: list[dict]) -> list[dict]:
    return [read[1], read[0], *read[2:]]


def twice(read: list[dict]) -> list[dict]:
    return [read[0], *read]


def clip_norm(read: list[dict]) -> list[dict]:
    event = {**read[0]["event"], "norm_bound": read[0]["event"]["norm_bound"] - 9}
    return [{**read[0], "event": event}, *read[1:]]


def no_cap(document: dict) -> None:
    document["cap_rho"] = "1/1000"


def unacknowledged(read: list[dict]) -> list[dict]:
    return [entry for entry in read if entry["state"] != "acknowledged"]


FAULTS: dict[str, tuple[str, Plant]] = {
    "zero-out priced, replacement claimed": ("A1", claim(adjacency="replace_one")),
    "add or remove claimed beside a public count": ("A1", claim(adjacency="add_remove")),
    "a device charged twice for one batch": ("A1", entries(twice)),
    "the accountant uses the clip norm": ("A2", entries(clip_norm)),
    "sigma next to nothing for an edge parameter": ("A3", small_noise),
    "more claimed than the noise gives": ("A3", claim(epsilon=50.0)),
    "a delta too large for the crowd": ("A5", claim(eligible=10**6)),
    "two deltas": ("A5", claim(delta=1e-7)),
    "a fixed batch accounted as Poisson": (
        "A6",
        claim(sampling="device_coin", scheduler="fixed_size", hidden_from=("leader", "helper")),
    ),
    "amplification claimed against the leader": (
        "A6", claim(sampling="device_coin", scheduler="device_coin", hidden_from=("public",))
    ),
    "a secure sum claimed as a shuffle": ("A6", claim(sampling="shuffled", scheduler="shuffled")),
    "an item table altered for one cohort": ("A8", cohort_table),
    "a claim below what is proved": ("B2", claim(epsilon=50.0)),
    "rho as a float": ("B3", entries(float_rho)),
    "rho of another claim": ("B3", claim(rho="1/1000")),
    "float noise in the sum": ("C4", float_sums),
    "a debug field with an item": ("E1", upload(longer)),
    "a metric of one device in a header": (
        "E1", upload(lambda f: {"headers": {**f["headers"], "X-Loss": "0.31"}})
    ),
    "an item in the address": ("E1", upload(lambda f: {"url": f["url"] + "?item=7"})),
    "the length follows the history": ("E2", upload(longer)),
    "an entry edited": ("F1", edited_unsigned),
    "a ledger copy restored": ("F2", restored),
    "budget refunded on erase": ("F3", ledger(refund)),
    "spent beyond the cap": ("F4", ledger(no_cap)),
    "charge after send": ("F5", entries(after_send)),
    "two reports on one task": ("F5", entries(twice)),
    "a receipt outside the chain": ("F6", entries(unacknowledged)),
    "an unlogged release": ("G1", unlogged_release),
    "a tampered log": ("G2", forked_log),
    "two log heads": ("G3", two_heads),
    "a batch below its minimum": ("G4", small_batch),
    "the manifest after the upload": ("G5", late_manifest),
    "a stale model adopted": ("G6", ledger(stale_model)),
}  # fmt: skip


PASSED: dict[str, Status] = {}  # how each check judges the honest evidence, asked once


@pytest.mark.parametrize("fault", FAULTS)
def test_each_planted_fault_is_detected_by_its_check(
    honest: Evidence, fault: str
) -> None:
    name, plant = FAULTS[fault]
    if name not in PASSED:
        PASSED[name] = check_result(name, honest)[0]
    assert PASSED[name] is Status.PASSED

    status, measured = check_result(name, plant(honest))

    assert status is Status.REFUTED, measured
    assert measured


def test_honest_evidence_passes_every_check_that_can_run(
    honest: Evidence,
) -> None:
    done = audit(honest, full=True)

    refuted = [
        (one.id, one.measured) for one in done.findings if one.status is Status.REFUTED
    ]
    assert refuted == []
    assert done.status == 0
    assert {one.id for one in done.findings if one.status is Status.NOT_RUN} <= {"B4"}


def test_a_checkpoint_signed_by_another_key_is_refused(honest: Evidence) -> None:
    checkpoint = SignedCheckpoint.decode(honest.documents.heads[0].checkpoint)
    foreign = replace(checkpoint, signature=bytes(64)).encode()
    heads = (SeenCheckpoint(seen_by="somebody", checkpoint=foreign),)

    status, measured = check_result("G2", documented(honest, heads=heads))

    assert status is Status.REFUTED
    assert "signature" in measured
