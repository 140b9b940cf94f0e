"""A pair of aggregators in this process, with real routes, files and devices.

It produces evidence and is used by tests that plant faults. Both aggregators run the
code of production, but requests do not pass a socket, so an audit can open the requests
that it sent.
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
from tactful.privacy.mechanism import Placement, format_fraction
from tactful.privacy.rounding import norm_bound
from tactful.protocol.dap import hpke
from tactful.protocol.dap.codec import Reader
from tactful.protocol.dap.messages import HpkeCiphertext
from tactful.protocol.dap.versions import HELPER, LEADER
from tactful.protocol.documents.task import SIGNED_AS, SignedTask, Task
from tactful.protocol.signed_json import encode_signed
from tactful.protocol.transport import Request, Response
from tactful.vdaf.field import Elements
from tactful.vdaf.field64 import FIELD64
from tactful_aggregator import app
from tactful_aggregator.dap.collect_messages import Query, aggregate_share_aad
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
LARGE_LEDGER = Ledger(Fraction(10**6))  # never exhausted in a staging run
KEY = HostKey(bytes(range(32)))
WHOLE_BATCH = Query(None)
MIN_BATCH = 4  # reports
Message = MutableMapping[str, object]


class InProcess:
    """A transport that calls the application of an aggregator in this process."""

    def __init__(self, apps: dict[str, Starlette]) -> None:
        self._apps = apps
        self.requests: list[Request] = []

    def send(self, request: Request) -> Response:
        """Record a request and return the answer of the aggregator at its address."""
        self.requests.append(request)
        parts = urlsplit(request.url)
        application = self._apps[f"{parts.scheme}://{parts.netloc}"]
        return asyncio.run(_call_asgi(application, request))


@dataclass(frozen=True)
class StagingPair:
    """A leader and a helper with their own datastores, and the transport to both."""

    leader: Aggregator
    helper: Aggregator
    stores: tuple[Datastore, Datastore]
    carrier: InProcess
    service: app.Service  # the leader's
    placement: Placement

    @property
    def aggregators(self) -> Aggregators:
        """The addresses and keys of the pair, for the settings of a device."""
        return Aggregators(
            model="staging",
            leader=self.leader.settings.url,
            helper=self.helper.settings.url,
            leader_key=self.leader.pairing_document.signing_key,
            helper_key=self.helper.pairing_document.signing_key,
        )

    @property
    def peer(self) -> HelperClient:
        """The leader's client for the helper."""
        return HelperClient(self.leader.other_aggregator, self.carrier)

    def task(
        self, name: str, length: int, epsilon: float, delta: float, **changes: object
    ) -> Task:
        """Return an unsigned popularity task on `length` items.

        One report spends all of (epsilon, delta). `changes` replace fields of the task.
        """
        padded = 1 << (length - 1).bit_length()
        honest = MIN_BATCH if self.placement == Placement.DEVICES else 0
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
            "sigma2": format_fraction(sigma2),
            "adjacency": "zero_out",
            "unit": "device",
            "epsilon": epsilon,
            "delta": delta,
            "min_batch_size": MIN_BATCH,
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

    def open_task(self, task: Task) -> Task:
        """Have both aggregators check, sign and store the task; return it."""
        with self.stores[0].transaction() as tx:
            countersign.check_task(task, tx.tasks.of_model(task.model), self.leader)
        leader_signature = self._sign(task)
        helper_signature = self.peer.sign_task(task, leader_signature)
        signed = SignedTask(
            task, {"leader": leader_signature, "helper": helper_signature}
        )
        with self.stores[0].transaction() as tx:
            tx.tasks.add(signed)
        return task

    def request_signature(self, task: Task) -> Response:
        """Return the helper's answer to a task that the leader did not check."""
        headers = {"Authorization": f"Bearer {self.leader.other_aggregator.token}"}
        body = encode_signed(task.document, {"leader": self._sign(task)})
        url = self.helper.settings.url + "/tasks"
        return self.carrier.send(Request("POST", url, body, headers))

    def _sign(self, task: Task) -> bytes:
        return self.leader.keys.signer.sign(SIGNED_AS + task.document)

    def aggregate(self, task: Task) -> None:
        """Verify and sum the reports received so far, without noise."""
        leader_jobs.settle_all(
            self.service.dependencies, self.peer, provisioned_round(task, self.leader)
        )

    @property
    def coordinator(self) -> Coordinator:
        """The leader's coordinator of this pair."""
        return Coordinator(self.service.dependencies, self.leader, self.peer)

    def collect(self, task: Task) -> tuple[NDArray[np.int64], int]:
        """Return the released sum and the number of reports in it."""
        return self.coordinator.collect(task)

    def totals(self, task: Task) -> list[Elements]:
        """Return the share of the sum at each aggregator, without noise."""
        totals = []
        for store in self.stores:
            total = FIELD64.zeros(task.encoding.padded)
            with store.transaction() as tx:
                parts = tx.sums.shards(task.id, 0, 1)
            for part in parts:
                total = FIELD64.add(total, FIELD64.decode(part.total, len(total)))
            totals.append(total)
        return totals

    def released(self, task: Task) -> list[Elements]:
        """Return the released share of each aggregator, with noise, decrypted."""
        shares = []
        for store, role in zip(self.stores, (LEADER, HELPER), strict=True):
            share = self._open_share(store, task, role)
            shares.append(FIELD64.decode(share, task.encoding.padded))
        return shares

    def _open_share(self, store: Datastore, task: Task, role: int) -> bytes:
        with store.transaction() as tx:
            released = tx.batches.released_share(task.id, 0, 1)
        if released is None:
            raise TactfulError(
                "staging: the task has no released sum; collect the task first"
            )
        ciphertext = HpkeCiphertext.read(Reader(released.share, "AggregateShare"))
        info = task.dap.dap.aggregate_share_info(role)
        aad = aggregate_share_aad(task.dap, WHOLE_BATCH)
        key = self.leader.keys.collecting
        return hpke.open_(key, ciphertext.enc, info, aad, ciphertext.payload)


@dataclass(frozen=True)
class Device:
    """A real contributor with its own vault in memory, consent and ledger."""

    vault: Vault
    contributor: Contributor

    @classmethod
    def sharing(cls, pair: StagingPair, coins: RecordedCoins | None = None) -> Device:
        """Return a device whose person consented to share with `pair`."""
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
        source = secrets.token_bytes if coins is None else coins
        return cls(vault, Contributor(vault, pair.carrier, pair.aggregators, source))

    def contribute(self, task: Task, vector: NDArray[np.float64]) -> None:
        """Charge the ledger and send one report."""
        state = project(self.vault, DeviceState(ledger=LARGE_LEDGER))
        self.contributor.contribute(task, vector, state, int(time.time()))


class RecordedCoins:
    """Random bytes from the kernel, recorded so that a rounding can be repeated."""

    def __init__(self) -> None:
        self.drawn: list[bytes] = []

    def __call__(self, count: int) -> bytes:
        """Return `count` random bytes and record them."""
        self.drawn.append(secrets.token_bytes(count))
        return self.drawn[-1]

    def replay(self) -> Callable[[int], bytes]:
        """Return a function that repeats the recorded bytes in the same order."""
        recorded = iter(self.drawn)
        return lambda count: next(recorded)[:count]


@contextmanager
def staging_pair(
    folder: Path, floor: int = 4, placement: Placement = Placement.AGGREGATOR
) -> Iterator[StagingPair]:
    """Provide a pair with two folders below `folder`; it is closed at the end.

    `placement` determines who adds the noise of its tasks.
    """
    leader, helper = create_pair(folder, min_batch_floor=floor)
    stores = Datastore(leader.database, "leader"), Datastore(helper.database, "helper")
    carrier = InProcess({})
    services = [
        app.Service(half, store, carrier)
        for half, store in zip((leader, helper), stores, strict=True)
    ]
    # A service needs the carrier, so the applications are registered afterwards.
    for service in services:
        carrier._apps[service.aggregator.settings.url] = app.build(service)
    try:
        yield StagingPair(leader, helper, stores, carrier, services[0], placement)
    finally:
        for store in stores:
            store.close()


async def _call_asgi(application: Starlette, request: Request) -> Response:
    """Call the application as a web server does (ASGI 3), and return its response."""
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
            (name.lower().encode(), value.encode())
            for name, value in request.headers.items()
        ],
        "server": (parts.hostname, parts.port),
        "client": ("127.0.0.1", 1),
        "state": {},
    }
    response: dict[str, object] = {}
    body = bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Message) -> None:
        response.update(message)
        part = message.get("body", b"")
        body.extend(part if isinstance(part, bytes) else b"")

    await application(scope, receive, send)
    raw_headers = response.get("headers", [])
    pairs = raw_headers if isinstance(raw_headers, list) else []
    headers = {name.decode().lower(): value.decode() for name, value in pairs}
    return Response(int(str(response["status"])), bytes(body), headers)
