"""A pair in this process, with real routes, files and devices: for evidence, and for faults.

Both halves are served as they are in production, but nothing goes through a socket, so that an
audit can open what it sent itself.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette

from tactful.device.consent import NOBODY, Consent, ConsentNotice, Occasion
from tactful.device.device_key import HostKey
from tactful.device.network.contributor import Contributor
from tactful.device.network.send_lock import SendLock
from tactful.device.network.withdrawal import record_answer
from tactful.device.settings import Aggregators
from tactful.device.state.device_state import DeviceState
from tactful.device.state.projection import project
from tactful.device.vault import Vault
from tactful.errors import TactfulError
from tactful.privacy.budget import Ledger
from tactful.privacy.calibration import noise_for
from tactful.privacy.mechanism import Placement, written
from tactful.privacy.rounding import norm_bound
from tactful.protocol.dap import hpke
from tactful.protocol.dap.codec import Reader
from tactful.protocol.dap.collect_messages import Query, aggregate_share_aad
from tactful.protocol.dap.messages import HpkeCiphertext
from tactful.protocol.dap.versions import HELPER, LEADER
from tactful.protocol.documents.task import SIGNED_AS, SignedTask, Task
from tactful.protocol.signed_json import encode_signed
from tactful.protocol.transport import Request, Response
from tactful.vdaf.field import Elements
from tactful.vdaf.field64 import FIELD64
from tactful_aggregator import app
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.helper_client import HelperClient
from tactful_aggregator.jobs import leader_jobs
from tactful_aggregator.settings import Aggregator
from tactful_aggregator.task_registry import provisioned_round
from tactful_aggregator.testing import create_pair
from tactful_aggregator.training import countersign
from tactful_aggregator.training.coordinator import Coordinator
from tactful_aggregator.training.noise_policy import BOX, LEVELS

SHARING = Consent.to("local_profile", "share_dp_updates")
PLENTY = Ledger(Fraction(10**6))
KEY = HostKey(bytes(range(32)))
ALL = Query(None)
SMALLEST = 4  # reports in a batch
Message = MutableMapping[str, object]


class InProcess:
    """Carries requests to the applications of both halves, by the address they are asked at."""

    def __init__(self, apps: dict[str, Starlette]) -> None:
        self._apps = apps
        self.requests: list[Request] = []

    def send(self, request: Request) -> Response:
        """The answer of the half whose address it is."""
        self.requests.append(request)
        parts = urlsplit(request.url)
        return asyncio.run(
            _asked(self._apps[f"{parts.scheme}://{parts.netloc}"], request)
        )


@dataclass(frozen=True)
class StagingPair:
    """Two halves on files of their own, and what carries requests between and to them."""

    leader: Aggregator
    helper: Aggregator
    stores: tuple[Datastore, Datastore]
    carrier: InProcess
    service: app.Service  # the leader's
    placement: Placement

    @property
    def aggregators(self) -> Aggregators:
        """What a device's settings need to know of the pair."""
        return Aggregators(
            model="staging",
            leader=self.leader.settings.url,
            helper=self.helper.settings.url,
            leader_key=self.leader.pairing_document.signing_key,
            helper_key=self.helper.pairing_document.signing_key,
        )

    @property
    def peer(self) -> HelperClient:
        """The helper, as the leader reaches it."""
        return HelperClient(self.leader.other_aggregator, self.carrier)

    def task(
        self, name: str, length: int, epsilon: float, delta: float, **changes: object
    ) -> Task:
        """A popularity round on `length` items that spends all of (epsilon, delta), unsigned."""
        padded = 1 << (length - 1).bit_length()
        honest = SMALLEST if self.placement == Placement.DEVICES else 0
        family, sigma2 = noise_for(
            self.placement,
            norm_bound=norm_bound(LEVELS, BOX, padded),
            dimension=padded,
            epsilon=epsilon,
            delta=delta,
            share=1.0,
            honest=honest,
        )
        now = int(time.time())
        fields: dict[str, object] = {
            "version": "tactful-1",
            "model": name,
            "round": 0,
            "rounds": 1,
            "kind": "popularity",
            "catalog": "0" * 64,
            "items": length,
            "length": length,
            "levels": LEVELS,
            "box": BOX,
            "family": family,
            "sigma2": written(sigma2),
            "adjacency": "zero_out",
            "unit": "device",
            "epsilon": epsilon,
            "delta": delta,
            "min_batch_size": SMALLEST,
            "leader": self.leader.settings.url,
            "helper": self.helper.settings.url,
            "opens": now - 60,
            "expires": now + 86_400,
            "guide": None,
            "nonce": secrets.token_hex(16),
            "placement": str(self.placement),
            "honest": honest,
        }
        return Task.parse(json.dumps({**fields, **changes}).encode())

    def opened(self, task: Task) -> Task:
        """The task, once both halves found it safe, signed it and keep it."""
        with self.stores[0].transaction() as tx:
            countersign.check_task(task, tx.tasks.of_model(task.model), self.leader)
        mine = self.leader.keys.signer.sign(SIGNED_AS + task.document)
        signed = SignedTask(
            task, {"leader": mine, "helper": self.peer.sign_task(task, mine)}
        )
        with self.stores[0].transaction() as tx:
            tx.tasks.add(signed)
        return task

    def asked_to_sign(self, task: Task) -> Response:
        """What the helper answers to a leader that signed whatever it liked."""
        mine = self.leader.keys.signer.sign(SIGNED_AS + task.document)
        headers = {"Authorization": f"Bearer {self.leader.other_aggregator.token}"}
        body = encode_signed(task.document, {"leader": mine})
        return self.carrier.send(
            Request("POST", self.helper.settings.url + "/tasks", body, headers)
        )

    def settle(self, task: Task) -> None:
        """Count what was sent, without noise yet."""
        leader_jobs.settle_all(
            self.service.dependencies, self.peer, provisioned_round(task, self.leader)
        )

    @property
    def leading(self) -> Coordinator:
        """The pair, as the leader's operator works with it."""
        return Coordinator(self.service.dependencies, self.leader, self.peer)

    def collect(self, task: Task) -> tuple[NDArray[np.int64], int]:
        """The released sum and its count."""
        return self.leading.collect(task)

    def totals(self, task: Task) -> list[Elements]:
        """What each half has summed, before its noise."""
        totals = []
        for store in self.stores:
            total = FIELD64.zeros(task.encoding.padded)
            with store.transaction() as tx:
                parts = tx.sums.shards(task.id, 0, 1)
            for part in parts:
                total = FIELD64.add(total, FIELD64.decode(part.total, len(total)))
            totals.append(total)
        return totals

    def noisy(self, task: Task) -> list[Elements]:
        """What each half released, as the collector opens it."""
        return [
            FIELD64.decode(self._share(store, task, role), task.encoding.padded)
            for store, role in zip(self.stores, (LEADER, HELPER), strict=True)
        ]

    def _share(self, store: Datastore, task: Task, role: int) -> bytes:
        with store.transaction() as tx:
            released = tx.batches.released_share(task.id, 0, 1)
        if released is None:
            raise TactfulError("staging: nothing is released yet")
        sealed = HpkeCiphertext.read(Reader(released.share, "AggregateShare"))
        info, aad = (
            task.dap.dap.aggregate_share_info(role),
            aggregate_share_aad(task.dap, ALL),
        )
        return hpke.open_(
            self.leader.keys.collecting, sealed.enc, info, aad, sealed.payload
        )


@dataclass(frozen=True)
class Device:
    """A real contributor on a vault in memory, with a consent and a ledger of its own."""

    vault: Vault
    contributor: Contributor

    @classmethod
    def sharing(cls, pair: StagingPair, coins: Coins | None = None) -> Device:
        """A device whose person agreed to share with `pair`."""
        vault = Vault.open(None, KEY)
        occasion = Occasion(
            shown=ConsentNotice(),
            at=int(time.time()),
            policy_version="1",
            in_force=NOBODY.in_force,
        )
        record_answer(
            vault, SendLock(None), DeviceState(), SHARING, occasion, asked=False
        )
        drawn = secrets.token_bytes if coins is None else coins
        return cls(vault, Contributor(vault, pair.carrier, pair.aggregators, drawn))

    def contribute(self, task: Task, vector: NDArray[np.float64]) -> None:
        """Charge, and send one report."""
        memory = project(self.vault, DeviceState(ledger=PLENTY))
        self.contributor.contribute(task, vector, memory, int(time.time()))


class Coins:
    """The kernel's randomness, remembered, so that what was rounded can be told again."""

    def __init__(self) -> None:
        self.drawn: list[bytes] = []

    def __call__(self, count: int) -> bytes:
        """`count` fresh bytes."""
        self.drawn.append(secrets.token_bytes(count))
        return self.drawn[-1]

    def again(self) -> Callable[[int], bytes]:
        """The same bytes in the same order."""
        kept = iter(self.drawn)
        return lambda count: next(kept)[:count]


@contextmanager
def staging_pair(
    folder: Path, floor: int = 4, placement: Placement = Placement.AGGREGATOR
) -> Iterator[StagingPair]:
    """A pair on two folders below `folder`; closed when the block ends.

    `placement` says who adds the noise in the tasks that it makes.
    """
    leader, helper = create_pair(folder, min_batch_floor=floor)
    stores = Datastore(leader.database, "leader"), Datastore(helper.database, "helper")
    carrier = InProcess({})
    services = [
        app.Service(half, store, carrier)
        for half, store in zip((leader, helper), stores, strict=True)
    ]
    for service in services:
        carrier._apps[service.aggregator.settings.url] = app.build(service)
    try:
        yield StagingPair(leader, helper, stores, carrier, services[0], placement)
    finally:
        for store in stores:
            store.close()


async def _asked(application: Starlette, request: Request) -> Response:
    """One request through the application, as a server would hand it over (ASGI 3)."""
    parts = urlsplit(request.url)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "scheme": parts.scheme,
        "headers": [
            (k.lower().encode(), v.encode()) for k, v in request.headers.items()
        ],
        "server": (parts.hostname, parts.port),
        "client": ("127.0.0.1", 1),
        "state": {},
    }
    answered: dict[str, object] = {}
    body = bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Message) -> None:
        answered.update(message)
        part = message.get("body", b"")
        body.extend(part if isinstance(part, bytes) else b"")

    await application(scope, receive, send)
    listed = answered.get("headers", [])
    pairs = listed if isinstance(listed, list) else []
    headers = {name.decode().lower(): value.decode() for name, value in pairs}
    return Response(int(str(answered["status"])), bytes(body), headers)
