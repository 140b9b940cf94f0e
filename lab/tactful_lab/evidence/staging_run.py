"""The evidence of a staging run: noise residuals, canaries, uploads and refusals.

Only a running pair and real devices can produce it.
"""

from __future__ import annotations

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
from tactful.privacy.mechanism import Placement, format_fraction
from tactful.protocol.dap import hpke
from tactful.protocol.dap.messages import (
    Report,
    decode_plaintext_share,
    decode_upload,
    input_share_aad,
)
from tactful.protocol.dap.versions import HELPER, LEADER
from tactful.protocol.documents.evidence import (
    Canaries,
    Documents,
    Evidence,
    ObservedRefusal,
    Residuals,
    Upload,
)
from tactful.protocol.documents.task import Task
from tactful.protocol.transport import Request
from tactful.vdaf.field import Elements
from tactful.vdaf.field64 import FIELD64
from tactful_lab.evidence.mechanism_replay import replay_encoding, unit_vector
from tactful_lab.evidence.staging import (
    Device,
    RecordedCoins,
    StagingPair,
    staging_pair,
)

RESIDUAL_LENGTH, RESIDUAL_BATCHES = 16_384, 4
CANARIES, CANARY_LENGTH = 1000, 1024
CANARY_NORM = 5.0  # times the greatest norm of an honest vector
DELTA = 1e-6
Floats = NDArray[np.float64]


def staging_evidence(
    epsilon: float,
    delta: float,
    *,
    canaries: int = CANARIES,
    placement: Placement = Placement.AGGREGATOR,
) -> Evidence:
    """Run a staging pair and return the evidence of its mechanism."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        pair = stack.enter_context(staging_pair(Path(folder), placement=placement))
        documents = Documents(
            replay=replay_encoding(pair.task("replay", 1000, epsilon, delta)),
            canaries=send_canaries(pair, epsilon, delta, canaries),
            uploads=tuple(record_uploads(pair, epsilon, delta)),
            refusals=tuple(observe_refusals(pair, epsilon, delta)),
        )
        residuals = noise_residuals(pair, epsilon, delta)
        return Evidence(documents=documents, residuals=residuals)


def noise_residuals(
    pair: StagingPair,
    epsilon: float,
    delta: float,
    *,
    length: int = RESIDUAL_LENGTH,
    batches: int = RESIDUAL_BATCHES,
) -> Residuals:
    """Return the noise in some batches: the sums minus the sums without noise.

    It is the noise of each aggregator, or of two devices if devices add it.
    """
    draw = _noise_of_aggregators
    if pair.placement.on_device:
        draw = _noise_of_devices
    tasks = [
        pair.task(f"residuals-{number}", length, epsilon, delta)
        for number in range(batches)
    ]
    values = [draw(pair, task) for task in tasks]
    return Residuals(
        family=tasks[0].family,
        sigma2=tasks[0].sigma2,
        values=np.array(values, dtype=np.int64),
    )


def _noise_of_aggregators(pair: StagingPair, task: Task) -> list[NDArray[np.int64]]:
    pair.open_task(task)
    for _ in range(task.min_batch_size):
        Device.sharing(pair).contribute(task, unit_vector(task.length, 0))
    pair.aggregate(task)
    before_noise = pair.totals(task)
    pair.collect(task)
    return _aggregator_noise(pair, task, before_noise)


def _noise_of_devices(pair: StagingPair, task: Task) -> list[NDArray[np.int64]]:
    """Return the noise of two devices, each alone in a batch like `task`."""
    values = []
    for name in ("one", "two"):
        device_task = pair.open_task(replace(task, model=f"{task.model}-{name}"))
        coins, vector = RecordedCoins(), unit_vector(task.length, 0)
        Device.sharing(pair, coins).contribute(device_task, vector)
        pair.aggregate(device_task)
        measured = FIELD64.to_integers(FIELD64.add(*pair.totals(device_task)))
        # The same coins give the same rounding, so what remains is the noise.
        encoded = device_task.encoding.encode(vector[None, :], coins.replay())[0]
        levels = encoded.astype(np.int64) - device_task.levels // 2
        values.append(measured - device_task.zero - levels)
    return values


def _aggregator_noise(
    pair: StagingPair, task: Task, before_noise: Sequence[Elements]
) -> list[NDArray[np.int64]]:
    """Return the noise that each aggregator added to its share of the sum."""
    noise = []
    for released, total in zip(pair.released(task), before_noise, strict=True):
        noise.append(FIELD64.to_integers(FIELD64.subtract(released, total)))
    return noise


def send_canaries(
    pair: StagingPair, epsilon: float, delta: float, count: int
) -> tuple[Canaries, Canaries]:
    """Send canaries as random coins decide, and score them.

    A canary has five times the greatest norm, on an item that nobody else has. It is
    scored once against the noise of each aggregator alone, because the claim must hold
    if only one of them is honest.
    """
    coin_seed = secrets.token_bytes(32)
    unscored = Canaries(
        rho="0/1",
        delta=delta,
        commitment=hashlib.sha256(coin_seed).hexdigest(),
        opened=coin_seed.hex(),
        scores=(0.0,) * count,
    )
    length = max(CANARY_LENGTH, count)
    task = pair.open_task(pair.task("canaries", length, epsilon, delta))
    for number in np.flatnonzero(unscored.coins()):
        vector = CANARY_NORM * unit_vector(length, int(number))
        Device.sharing(pair).contribute(task, vector)
    pair.aggregate(task)
    before_noise = pair.totals(task)
    exact = FIELD64.to_integers(FIELD64.add(*before_noise))
    _, report_count = pair.collect(task)
    leader_noise, helper_noise = _aggregator_noise(pair, task, before_noise)
    leader_scores = task.decode(exact + leader_noise, report_count)[:count]
    helper_scores = task.decode(exact + helper_noise, report_count)[:count]
    rho = format_fraction(task.release.rho)
    return (
        replace(unscored, rho=rho, scores=tuple(map(float, leader_scores))),
        replace(unscored, rho=rho, scores=tuple(map(float, helper_scores))),
    )


def record_uploads(pair: StagingPair, epsilon: float, delta: float) -> Iterator[Upload]:
    """Yield uploads of devices with different histories, and their opened shares."""
    task = pair.open_task(pair.task("uploads", 1000, epsilon, delta))
    histories = {
        "nothing": [],
        "one item": [7],
        "one other item": [8],
        "many": list(range(400)),
    }
    for name, items in histories.items():
        coins = RecordedCoins()
        vector = contribution(
            "popularity", np.array(items, dtype=np.int64), task.length, None
        )
        Device.sharing(pair, coins).contribute(task, vector)
        measurement = task.encoding.encode(vector[None, :], coins.replay())[0]
        request = _last_upload(pair.carrier.requests)
        report = decode_upload(request.body, task.dap.dap)[0]
        shares = _open_shares(pair, task, report)
        yield Upload(
            history=name,
            url=request.url,
            headers=dict(request.headers),
            body=base64.b64encode(request.body).decode(),
            shares=tuple(base64.b64encode(share).decode() for share in shares),
            measurement=tuple(int(value) for value in measurement),
            task=task.document.decode(),
        )


def _last_upload(requests: Sequence[Request]) -> Request:
    return next(
        request for request in reversed(requests) if request.url.endswith("/reports")
    )


def _open_shares(pair: StagingPair, task: Task, report: Report) -> Iterator[bytes]:
    """Decrypt the input share of each aggregator."""
    aad = input_share_aad(task.dap, report.metadata, report.public_share)
    for aggregator, role, ciphertext in (
        (pair.leader, LEADER, report.leader),
        (pair.helper, HELPER, report.helper),
    ):
        info = task.dap.dap.input_share_info(role)
        plaintext = hpke.open_(
            aggregator.keys.opener, ciphertext.enc, info, aad, ciphertext.payload
        )
        yield decode_plaintext_share(plaintext)


def observe_refusals(
    pair: StagingPair, epsilon: float, delta: float
) -> Iterator[ObservedRefusal]:
    """Yield the answers of the pair to requests that it must refuse.

    They are named after the checks of the audit (H1 to H6).
    """
    length = 64
    vector = unit_vector(length, 0)
    task = pair.open_task(pair.task("refusals", length, epsilon, delta))
    for _ in range(3):
        Device.sharing(pair).contribute(task, vector)
    too_small = _answer(lambda: pair.collect(task))
    yield ObservedRefusal(
        check="H1", tried="collecting 3 reports of 4", answers=(too_small,)
    )
    strong = pair.task("weak", length, epsilon, delta)
    weak = replace(strong, sigma2=format_fraction(Fraction(strong.sigma2) / 4))
    yield ObservedRefusal(
        check="H2", tried="noise halved", answers=(_signing_answer(pair, weak),)
    )
    # The fourth report completes the batch.
    Device.sharing(pair).contribute(task, vector)
    digests = tuple(_collection_digest(pair, task) for _ in range(2))
    yield ObservedRefusal(check="H3", tried="collecting twice", answers=digests)
    yield ObservedRefusal(
        check="H4",
        tried="a report too late",
        answers=(_late_report_answer(pair, task, vector),),
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
        answers=(_signing_answer(pair, head),),
    )
    nan = vector * np.nan
    nan_task = pair.open_task(pair.task("nan", length, epsilon, delta))
    nan_answer = _answer(lambda: Device.sharing(pair).contribute(nan_task, nan))
    yield ObservedRefusal(check="H6", tried="NaN", answers=(nan_answer,))


def _collection_digest(pair: StagingPair, task: Task) -> str:
    """Collect the batch; return the digest of the sum, the shares and the count."""
    total, count = pair.collect(task)
    shares = b"".join(FIELD64.encode(share) for share in pair.released(task))
    content = total.tobytes() + shares + bytes([count])
    return hashlib.sha256(content).hexdigest()


def _answer(request: Callable[[], object]) -> str:
    """Return the refusal of `request`; the audit reports any other answer."""
    try:
        request()
    except InvalidInput as refusal:
        return f"invalidInput: {refusal}"
    except TactfulError as refusal:
        return str(refusal)
    return "it was given"


def _signing_answer(pair: StagingPair, task: Task) -> str:
    response = pair.request_signature(task)
    if response.ok:
        return "it was signed"
    problem = json.loads(response.body)
    return f"{problem['title']}: {problem['detail']}"


def _late_report_answer(pair: StagingPair, task: Task, vector: Floats) -> str:
    try:
        Device.sharing(pair).contribute(task, vector)
    except TactfulError as refusal:
        return str(refusal).partition("report: ")[2] or str(refusal)
    return "it was taken"
