"""An evidence bundle: what a pair published and devices export, and a staging run beside it."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput, TactfulError
from tactful.learning.client.contribution import contribution
from tactful.privacy.accountant import claim
from tactful.privacy.mechanism import Placement, format_fraction
from tactful.protocol.dap import hpke
from tactful.protocol.dap.messages import (
    Report,
    decode_plaintext_share,
    decode_upload,
    input_share_aad,
)
from tactful.protocol.dap.versions import HELPER, LEADER
from tactful.protocol.documents import evidence as shown
from tactful.protocol.documents.evidence import (
    Canaries,
    Documents,
    Evidence,
    ObservedRefusal,
    OperatorClaim,
    PublishedKeys,
    Residuals,
    SeenCheckpoint,
    Upload,
)
from tactful.protocol.documents.model_release import SignedRelease
from tactful.protocol.documents.task import Task
from tactful.protocol.log.transcript import BatchRecord, parse, signed
from tactful.protocol.transport import Request
from tactful.vdaf.field import Elements
from tactful.vdaf.field64 import FIELD64
from tactful_aggregator.datastore import Datastore, StoreTransaction
from tactful_aggregator.settings import Aggregator, load
from tactful_lab.evidence.mechanism_replay import replayed, unit
from tactful_lab.evidence.staging import Coins, Device, StagingPair, staging_pair

RESIDUAL_LENGTH, RESIDUAL_BATCHES = 16_384, 4
CANARIES, CANARY_LENGTH = 1000, 1024
DELTA = 1e-6
Floats = NDArray[np.float64]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab evidence`."""
    told = "run a staging pair and write what an auditor needs to check its mechanism"
    parser = subparsers.add_parser("evidence", help=told, description=told)
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    parser.add_argument(
        "--epsilon", type=float, default=3.0, help="of each staging batch"
    )
    parser.add_argument(
        "--placement",
        type=Placement,
        choices=list(Placement),
        default=Placement.AGGREGATOR,
        help="who adds the noise in staging",
    )
    parser.add_argument("--leader", type=Path, metavar="DIR", help="a leader's folder")
    parser.add_argument("--model", help="whose release it published")
    parser.add_argument("--eligible", type=int, help="devices that could take part")
    parser.add_argument(
        "--ledger", type=Path, action="append", default=[], metavar="FILE"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab evidence` does."""
    made = staged(options.epsilon, DELTA, placement=options.placement)
    if options.leader is not None:
        for name in ("model", "eligible"):
            if not getattr(options, name):
                raise InvalidInput(
                    f"--{name}", "it is missing", "say it beside --leader"
                )
        ledgers = [path.read_text() for path in options.ledger]
        half = load(options.leader)
        made = joined(
            published(half, options.model, ledgers, eligible=options.eligible), made
        )
    shown.write(options.out, made, secrets.token_bytes(32))
    print(f"evidence: {options.out}")
    return 0


# what was published, and what devices show


def published(
    half: Aggregator, model: str, ledgers: Sequence[str], *, eligible: int
) -> Evidence:
    """All that the leader published, a claim for `model`, and what some devices exported."""
    store = Datastore(half.database, "leader")
    try:
        with store.transaction() as tx:
            documents, sums = _published(tx, half, model, eligible)
    finally:
        store.close()
    return Evidence(documents=replace(documents, ledgers=tuple(ledgers)), sums=sums)


def _published(
    tx: StoreTransaction, half: Aggregator, model: str, eligible: int
) -> tuple[Documents, dict[str, shown.Numbers]]:
    lines = tx.transcript()
    newest = tx.newest_release(model)
    if newest is None:
        raise InvalidInput("model", f"{model!r} is not released", "release it first")
    release = SignedRelease.decode(newest[1]).release
    entries = [parse(line) for line in lines]
    records = [_file(tx, e.sha256) for e in entries if e.kind == "result"]
    found = [BatchRecord.parse(record) for record in records]
    logged = [tx.task(bytes.fromhex(e.sha256)) for e in entries if e.kind == "task"]
    tasks = [one for one in logged if one is not None]
    cost = claim(
        [one.task.release for one in tasks if one.task.model == model], release.delta
    )
    leader, helper = half.public_keys()
    head = signed(entries, half.keys.signer)
    documents = Documents(
        claim=OperatorClaim(
            model=model,
            epsilon=max(cost.headline, release.epsilon),
            delta=release.delta,
            rho=format_fraction(cost.rho),
            unit=release.unit,
            adjacency=release.adjacency,
            eligible=eligible,
            placement=release.placement,
        ),
        keys=PublishedKeys(
            leader=base64.b64encode(leader).decode(),
            helper=base64.b64encode(helper).decode(),
        ),
        tasks=tuple(one.encode().decode() for one in tasks),
        releases=tuple(body.decode() for body in tx.releases()),
        log=tuple(lines),
        heads=(SeenCheckpoint(seen_by="whoever made this", checkpoint=head.encode()),),
        records=tuple(record.decode() for record in records),
    )
    return documents, {one.sum: _sum(_file(tx, one.sum)) for one in found}


def _file(tx: StoreTransaction, digest: str) -> bytes:
    content = tx.file(digest)
    if content is None:
        raise TactfulError(f"evidence: the file {digest} is logged, but gone")
    return content


def _sum(content: bytes) -> NDArray[np.int64]:
    return np.frombuffer(content, dtype="<i8").astype(np.int64)


def joined(one: Evidence, other: Evidence) -> Evidence:
    """Both bundles as one; where both say something of the same, the first holds."""
    documents = {
        name: value or getattr(other.documents, name)
        for name, value in vars(one.documents).items()
    }
    tasks = tuple(dict.fromkeys((*one.documents.tasks, *other.documents.tasks)))
    return Evidence(
        documents=replace(Documents(**documents), tasks=tasks),
        sums={**other.sums, **one.sums},
        residuals=one.residuals or other.residuals,
    )


# the staging run


def staged(
    epsilon: float,
    delta: float,
    *,
    canaries: int = CANARIES,
    placement: Placement = Placement.AGGREGATOR,
) -> Evidence:
    """Everything that only a running pair and real devices can show."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        pair = stack.enter_context(staging_pair(Path(folder), placement=placement))
        uploads = sent(pair, epsilon, delta)
        return Evidence(
            documents=Documents(
                replay=replayed(pair.task("replay", 1000, epsilon, delta)),
                canaries=flown(pair, epsilon, delta, canaries),
                uploads=tuple(uploads),
                refusals=tuple(refused(pair, epsilon, delta)),
            ),
            residuals=residuals(pair, epsilon, delta),
        )


def residuals(
    pair: StagingPair,
    epsilon: float,
    delta: float,
    *,
    length: int = RESIDUAL_LENGTH,
    batches: int = RESIDUAL_BATCHES,
) -> Residuals:
    """The noise of each half, or of two devices, in some batches, the known sums taken off."""
    adds = _of_devices if pair.placement.on_device else _of_halves
    tasks = [
        pair.task(f"residuals-{number}", length, epsilon, delta)
        for number in range(batches)
    ]
    drawn = [adds(pair, task) for task in tasks]
    return Residuals(
        family=tasks[0].family,
        sigma2=tasks[0].sigma2,
        values=np.array(drawn, dtype=np.int64),
    )


def _of_halves(pair: StagingPair, task: Task) -> list[NDArray[np.int64]]:
    pair.opened(task)
    for _ in range(task.min_batch_size):
        Device.sharing(pair).contribute(task, unit(task.length, 0))
    pair.settle(task)
    before = pair.totals(task)
    pair.collect(task)
    return _noises(pair, task, before)


def _of_devices(pair: StagingPair, task: Task) -> list[NDArray[np.int64]]:
    """What two devices added, each alone in a batch like `task`."""
    drawn = []
    for name in ("one", "two"):
        alone = pair.opened(replace(task, model=f"{task.model}-{name}"))
        coins, vector = Coins(), unit(task.length, 0)
        Device.sharing(pair, coins).contribute(alone, vector)
        pair.settle(alone)
        sent = FIELD64.to_integers(FIELD64.add(*pair.totals(alone)))
        levels = alone.encoding.encode(vector[None, :], coins.again())[0].astype(
            np.int64
        )
        drawn.append(sent - alone.zero - (levels - alone.levels // 2))
    return drawn


def flown(
    pair: StagingPair, epsilon: float, delta: float, count: int
) -> tuple[Canaries, Canaries]:
    """Canaries of five times the norm, each on an item nobody else has, sent as coins say.

    Scored once against each half's noise alone: the claim counts on either.
    """
    opened = secrets.token_bytes(32)
    blank = Canaries(
        rho="0/1",
        delta=delta,
        commitment=hashlib.sha256(opened).hexdigest(),
        opened=opened.hex(),
        scores=(0.0,) * count,
    )
    length = max(CANARY_LENGTH, count)
    task = pair.opened(pair.task("canaries", length, epsilon, delta))
    for number in np.flatnonzero(blank.coins()):
        Device.sharing(pair).contribute(task, 5.0 * unit(length, int(number)))
    pair.settle(task)
    before = pair.totals(task)
    exact = FIELD64.to_integers(FIELD64.add(*before))
    _, kept = pair.collect(task)
    leader, helper = (
        task.decode(exact + noise, kept)[:count]
        for noise in _noises(pair, task, before)
    )
    rho = format_fraction(task.release.rho)
    return (
        replace(blank, rho=rho, scores=tuple(float(score) for score in leader)),
        replace(blank, rho=rho, scores=tuple(float(score) for score in helper)),
    )


def _noises(
    pair: StagingPair, task: Task, before: Sequence[Elements]
) -> list[NDArray[np.int64]]:
    """What each half added to its sum."""
    halves = zip(pair.noisy(task), before, strict=True)
    return [
        FIELD64.to_integers(FIELD64.subtract(noisy, total)) for noisy, total in halves
    ]


def sent(pair: StagingPair, epsilon: float, delta: float) -> Iterator[Upload]:
    """What real devices of different histories send for one task, and what the halves open."""
    task = pair.opened(pair.task("uploads", 1000, epsilon, delta))
    histories = {
        "nothing": [],
        "one item": [7],
        "one other item": [8],
        "many": list(range(400)),
    }
    for name, items in histories.items():
        coins = Coins()
        vector = contribution(
            "popularity", np.array(items, dtype=np.int64), task.length, None
        )
        Device.sharing(pair, coins).contribute(task, vector)
        measured = task.encoding.encode(vector[None, :], coins.again())[0]
        request = next(one for one in reversed(pair.carrier.requests) if _uploads(one))
        report = decode_upload(request.body, task.dap.dap)[0]
        yield Upload(
            history=name,
            url=request.url,
            headers=dict(request.headers),
            body=base64.b64encode(request.body).decode(),
            shares=tuple(
                base64.b64encode(one).decode() for one in _opened(pair, task, report)
            ),
            measurement=tuple(int(value) for value in measured),
            task=task.document.decode(),
        )


def _uploads(request: Request) -> bool:
    return request.url.endswith("/reports")


def _opened(pair: StagingPair, task: Task, report: Report) -> Iterator[bytes]:
    aad = input_share_aad(task.dap, report.metadata, report.public_share)
    for half, role, part in (
        (pair.leader, LEADER, report.leader),
        (pair.helper, HELPER, report.helper),
    ):
        info = task.dap.dap.input_share_info(role)
        plain = hpke.open_(half.keys.opener, part.enc, info, aad, part.payload)
        yield decode_plaintext_share(plain)


def refused(
    pair: StagingPair, epsilon: float, delta: float
) -> Iterator[ObservedRefusal]:
    """What the pair answers when it is asked for what it must not give."""
    length = 64
    vector = unit(length, 0)
    task = pair.opened(pair.task("refusals", length, epsilon, delta))
    for _ in range(3):
        Device.sharing(pair).contribute(task, vector)
    yield ObservedRefusal(
        check="H1",
        tried="collecting 3 reports of 4",
        answers=(_said(lambda: pair.collect(task)),),
    )
    weak = pair.task("weak", length, epsilon, delta)
    halved = Fraction(weak.sigma2) / 4
    weak = replace(weak, sigma2=format_fraction(halved))
    yield ObservedRefusal(
        check="H2", tried="noise halved", answers=(_problem(pair, weak),)
    )
    Device.sharing(pair).contribute(task, vector)
    answers = []
    for _ in range(2):
        total, count = pair.collect(task)
        shares = b"".join(FIELD64.encode(one) for one in pair.noisy(task))
        answers.append(
            hashlib.sha256(total.tobytes() + shares + bytes([count])).hexdigest()
        )
    yield ObservedRefusal(check="H3", tried="collecting twice", answers=tuple(answers))
    yield ObservedRefusal(
        check="H4", tried="a report too late", answers=(_late(pair, task, vector),)
    )
    head = replace(
        pair.task("head", length, epsilon, delta),
        round=1,
        rounds=2,
        kind="subspace",
        guide="0" * 64,
    )
    yield ObservedRefusal(
        check="H5",
        tried="a head before any noisy batch",
        answers=(_problem(pair, head),),
    )
    nan = vector * np.nan
    fresh = pair.opened(pair.task("nan", length, epsilon, delta))
    said = _said(lambda: Device.sharing(pair).contribute(fresh, nan))
    yield ObservedRefusal(check="H6", tried="NaN", answers=(said,))


def _said(ask: Callable[[], object]) -> str:
    try:
        ask()
    except InvalidInput as refusal:
        return f"invalidInput: {refusal}"
    except TactfulError as refusal:
        return str(refusal)
    return "it was given"


def _problem(pair: StagingPair, task: Task) -> str:
    answer = pair.asked_to_sign(task)
    if answer.ok:
        return "it was signed"
    problem = json.loads(answer.body)
    return f"{problem['title']}: {problem['detail']}"


def _late(pair: StagingPair, task: Task, vector: Floats) -> str:
    try:
        Device.sharing(pair).contribute(task, vector)
    except TactfulError as refusal:
        return str(refusal).partition("report: ")[2] or str(refusal)
    return "it was taken"
