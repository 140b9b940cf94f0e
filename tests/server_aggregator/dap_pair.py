"""A whole pair over HTTP in one process: real applications, a mock clock, a network that may fail.

Leader and helper are the real Starlette applications; requests reach them through their ASGI
interface. The leader's worker runs when it is told to, so that a list of operations is a schedule.
"""

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from starlette.testclient import TestClient

from tactful.errors import TransportError
from tactful.protocol.dap.dap_task import DapTask, encoded
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful.protocol.transport import Request, Response
from tactful.vdaf.version import VDAF_08, VDAF_18
from tactful_aggregator.app import Service, build
from tactful_aggregator.dap.collector import Collector
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.jobs.worker import answer_collections, collect_garbage
from tactful_aggregator.settings import Aggregator
from tactful_aggregator.task_registry import OperatorTask, serve_operator_task
from tactful_aggregator.testing import create_pair

HOUR = 3600
START = 1_700_000_000 // HOUR * HOUR
CONFIG_ID = 5


@dataclass
class Network:
    """Carries requests to the half whose address they name; may lose a request or an answer."""

    clients: dict[str, TestClient] = field(default_factory=dict)
    lose: Callable[[Request], str] = lambda request: ""
    seen: list[tuple[Request, Response]] = field(default_factory=list)

    def send(self, request: Request) -> Response:
        lost = self.lose(request)
        if lost == "request":
            raise TransportError("the request was lost")
        base = next(base for base in self.clients if request.url.startswith(base))
        answer = self.clients[base].request(
            request.method,
            request.url,
            content=request.body,
            headers=dict(request.headers),
        )
        headers = {name.lower(): value for name, value in answer.headers.items()}
        response = Response(answer.status_code, answer.content, headers)
        self.seen.append((request, response))
        if lost == "answer":
            raise TransportError("the answer was lost")
        return response


class DapPair:
    """Leader and helper, and everything that one may do to them."""

    def __init__(self, folder: Path, places: tuple[str, str] | None = None) -> None:
        self.now = START
        self.behind = 0  # seconds, the helper's clock
        self.network = Network()
        self.collecting = X25519PrivateKey.generate()
        self.leader, self.helper = create_pair(
            folder, min_batch_floor=1, min_count_floor=1
        )
        self._places = places or (self.leader.database, self.helper.database)
        self.start()

    def start(self) -> None:
        """Read everything from the disk, as after a start."""
        self._open = ExitStack()
        self.leader_service, self.helper_service = (
            self._served(aggregator, place)
            for aggregator, place in zip(
                (self.leader, self.helper), self._places, strict=True
            )
        )

    def _served(self, aggregator: Aggregator, place: Path | str) -> Service:
        store = Datastore(place, aggregator.settings.role)
        self._open.callback(store.close)
        with store.transaction() as tx:
            tx.jobs.release_leases()
        late = aggregator.settings.role == "helper"
        clock = lambda: self.now - late * self.behind  # noqa: E731 - it is handed in
        service = Service(aggregator, store, self.network, clock)
        app = build(service)
        app.router.lifespan_context = _no_worker
        client = TestClient(
            app, base_url=aggregator.settings.url, raise_server_exceptions=False
        )
        self.network.clients[aggregator.settings.url] = self._open.enter_context(client)
        return service

    def restart(self) -> None:
        """Forget everything that is not on the disk."""
        self.close()
        self.start()

    def close(self) -> None:
        self._open.close()

    # tasks

    def task(
        self, protocol: str, config: VdafConfig, **changes: object
    ) -> OperatorTask:
        """A task of an hour's precision that lasts ten hours, exact, known to both halves."""
        version = VDAF_18 if protocol == "dap-18" else VDAF_08
        chosen = {
            "protocol": protocol,
            "leader": self.leader.settings.url,
            "helper": self.helper.settings.url,
            "time_precision": HOUR,
            "min_batch_size": 1,
            "batch_mode": "time_interval",
            "opens": START - 2 * HOUR,
            "expires": START + 10 * HOUR,
            "vdaf": config,
            "info": secrets.token_hex(8),
            "verify_key": encoded(
                secrets.token_bytes(config.vdaf(version).verify_key_bytes)
            ),
            "collector_config_id": CONFIG_ID,
            "collector_key": encoded(self.collecting.public_key().public_bytes_raw()),
            "noise": "none",
            "id": None if protocol == "dap-18" else encoded(secrets.token_bytes(32)),
        }
        written = OperatorTask(**{**chosen, **changes})
        for aggregator, place in zip(
            (self.leader, self.helper), self._places, strict=True
        ):
            _keep(aggregator, place, written, self.now)
        return written

    def collector(self, task: DapTask) -> Collector:
        return Collector(
            task, CONFIG_ID, self.collecting, self.leader.keys.collector_token
        )

    # what happens by itself

    def work(self) -> None:
        """Let the leader's worker have one turn at collections."""
        service = self.leader_service
        answer_collections(
            service.dependencies, service.worker.helper_client, service.registry
        )

    def collect_garbage(self) -> None:
        for service in (self.leader_service, self.helper_service):
            collect_garbage(service.dependencies)

    def rotate(self) -> None:
        """Both halves hand out new keys; what was sealed to the old ones opens for two days."""
        for service in (self.leader_service, self.helper_service):
            service.dependencies.keyring.rotate()


def _keep(
    aggregator: Aggregator, place: Path | str, written: OperatorTask, now: int
) -> None:
    if isinstance(place, Path):
        serve_operator_task(aggregator, written, now)
        return
    store = Datastore(place, aggregator.settings.role)
    with store.transaction() as tx:
        tx.tasks.add_provisioned(
            written.provisioned.task.id, written.document, written.expires
        )
    store.close()


class _no_worker:  # noqa: N801 - it stands for a lifespan
    def __init__(self, app: object) -> None: ...

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...
