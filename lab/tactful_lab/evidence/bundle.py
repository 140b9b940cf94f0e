"""Evidence bundles: what a pair published and devices exported, and a staging run."""

from __future__ import annotations

import argparse
import base64
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput, TactfulError
from tactful.privacy.accountant import claim
from tactful.privacy.mechanism import Placement, format_fraction
from tactful.protocol.documents import evidence as evidence_files
from tactful.protocol.documents.evidence import (
    Documents,
    Evidence,
    Numbers,
    OperatorClaim,
    PublishedKeys,
    SeenCheckpoint,
)
from tactful.protocol.documents.model_release import ModelRelease, SignedRelease
from tactful.protocol.documents.task import SignedTask
from tactful.protocol.log.transcript import BatchRecord, LogEntry, parse, signed
from tactful_aggregator.datastore import Datastore, StoreTransaction
from tactful_aggregator.settings import Aggregator, load
from tactful_lab.evidence.staging_run import DELTA, staging_evidence


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab evidence`."""
    summary = "run a staging pair and write the evidence bundle that an auditor checks"
    parser = subparsers.add_parser("evidence", help=summary, description=summary)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="folder of the bundle"
    )
    parser.add_argument(
        "--epsilon",
        type=float,
        default=3.0,
        help="of each staging batch; default: %(default)s",
    )
    parser.add_argument(
        "--placement",
        type=Placement,
        choices=list(Placement),
        default=Placement.AGGREGATOR,
        help="who adds the noise in the staging run; default: %(default)s",
    )
    parser.add_argument(
        "--leader",
        type=Path,
        metavar="DIR",
        help="folder of a leader, whose published documents are added to the bundle",
    )
    parser.add_argument("--model", help="with --leader: the released model")
    parser.add_argument(
        "--eligible", type=int, help="with --leader: devices that could take part"
    )
    parser.add_argument(
        "--ledger",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="with --leader: ledger exported by a device; may be repeated",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab evidence` and return its exit status."""
    evidence = staging_evidence(options.epsilon, DELTA, placement=options.placement)
    if options.leader is not None:
        for name in ("model", "eligible"):
            if not getattr(options, name):
                raise InvalidInput(
                    f"--{name}", "it is missing", f"pass --{name} with --leader"
                )
        ledgers = [path.read_text() for path in options.ledger]
        leader = load(options.leader)
        published = published_evidence(
            leader, options.model, ledgers, eligible=options.eligible
        )
        evidence = merge(published, evidence)
    evidence_files.write(options.out, evidence, secrets.token_bytes(32))
    print(f"evidence: {options.out}")
    return 0


def published_evidence(
    leader: Aggregator, model: str, ledgers: Sequence[str], *, eligible: int
) -> Evidence:
    """Return all documents that the leader published, and a privacy claim for `model`.

    `ledgers` are exports of some devices; `eligible` is the number of devices that
    could take part. Raises InvalidInput if `model` is not released.
    """
    store = Datastore(leader.database, "leader")
    try:
        with store.transaction() as tx:
            documents, sums = _published(tx, leader, model, eligible)
    finally:
        store.close()
    return Evidence(documents=replace(documents, ledgers=tuple(ledgers)), sums=sums)


def _published(
    tx: StoreTransaction, leader: Aggregator, model: str, eligible: int
) -> tuple[Documents, dict[str, Numbers]]:
    lines = tx.published.entries()
    newest = tx.published.newest_release(model)
    if newest is None:
        raise InvalidInput(
            "model", f"{model!r} is not released", "release the model first"
        )
    release = SignedRelease.decode(newest[1]).release
    entries = [parse(line) for line in lines]
    tasks = _logged_tasks(tx, entries)
    digests = [entry.sha256 for entry in entries if entry.kind == "result"]
    record_files = [_file(tx, digest) for digest in digests]
    records = [BatchRecord.parse(content) for content in record_files]
    leader_key, helper_key = leader.public_keys()
    checkpoint = signed(entries, leader.keys.signer).encode()
    documents = Documents(
        claim=_claim(release, tasks, model, eligible),
        keys=PublishedKeys(
            leader=base64.b64encode(leader_key).decode(),
            helper=base64.b64encode(helper_key).decode(),
        ),
        tasks=tuple(task.encode().decode() for task in tasks),
        releases=tuple(body.decode() for body in tx.published.releases()),
        log=tuple(lines),
        heads=(SeenCheckpoint(seen_by="whoever made this", checkpoint=checkpoint),),
        records=tuple(content.decode() for content in record_files),
    )
    sums: dict[str, Numbers] = {}
    for record in records:
        sums[record.sum] = _sum(_file(tx, record.sum))
    return documents, sums


def _logged_tasks(
    tx: StoreTransaction, entries: Sequence[LogEntry]
) -> list[SignedTask]:
    """Return the tasks of the publication log that the datastore still has."""
    tasks = []
    for entry in entries:
        if entry.kind == "task":
            task = tx.tasks.get(bytes.fromhex(entry.sha256))
            if task is not None:
                tasks.append(task)
    return tasks


def _claim(
    release: ModelRelease, tasks: Sequence[SignedTask], model: str, eligible: int
) -> OperatorClaim:
    """Return the claim for `model`; it never claims less than the tasks cost."""
    gaussian_releases = [
        signed_task.task.release
        for signed_task in tasks
        if signed_task.task.model == model
    ]
    cost = claim(gaussian_releases, release.delta)
    return OperatorClaim(
        model=model,
        epsilon=max(cost.headline, release.epsilon),
        delta=release.delta,
        rho=format_fraction(cost.rho),
        unit=release.unit,
        adjacency=release.adjacency,
        eligible=eligible,
        placement=release.placement,
    )


def _file(tx: StoreTransaction, digest: str) -> bytes:
    content = tx.published.file(digest)
    if content is None:
        raise TactfulError(
            f"evidence: the file {digest} is in the publication log, but not in the "
            "datastore; restore the datastore from a backup"
        )
    return content


def _sum(content: bytes) -> NDArray[np.int64]:
    return np.frombuffer(content, dtype="<i8").astype(np.int64)


def merge(first: Evidence, second: Evidence) -> Evidence:
    """Return both bundles as one; `first` has precedence where both have a document."""
    documents = {
        name: value or getattr(second.documents, name)
        for name, value in vars(first.documents).items()
    }
    tasks = tuple(dict.fromkeys((*first.documents.tasks, *second.documents.tasks)))
    return Evidence(
        documents=replace(Documents(**documents), tasks=tasks),
        sums={**second.sums, **first.sums},
        residuals=first.residuals or second.residuals,
    )
