"""A real pair, whole devices that share with it, and a relay between them that may lie."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tactful.device.clock import Clock
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Aggregators, Placement, Settings
from tactful.device.vault.rollback_anchor import RollbackAnchorFile
from tactful.protocol.transport import HttpTransport, Request, Response
from tactful.testing import FIXED_KEY, LOCAL, NewDeviceSettings, small_catalog
from tactful_aggregator.testing import RunningPair, running_pair
from tactful_aggregator.training.state import Training

CATALOG = small_catalog()
SHARING = LOCAL.grant("share_dp_updates")


@dataclass
class Relay:
    """Carries what devices and halves say to each other over real HTTP.

    `lies` are asked first, each with the request and a way to pass it on.
    """

    lies: list[Callable[[Request], Response | None]] = field(default_factory=list)
    uploads: list[bytes] = field(default_factory=list)
    _network: HttpTransport = field(default_factory=HttpTransport)

    def send(self, request: Request) -> Response:
        """What the network answers."""
        if request.url.endswith("/reports"):
            self.uploads.append(request.body)
        for lie in self.lies:
            answer = lie(request)
            if answer is not None:
                return answer
        return self.honest(request)

    def honest(self, request: Request) -> Response:
        """What the half itself answers."""
        return self._network.send(request)


@dataclass(frozen=True)
class SharingTown:
    """The pair, the folder of the devices, and the relay."""

    pair: RunningPair
    folder: Path
    relay: Relay

    def opened(
        self,
        model: str,
        epsilon: float = 8.0,
        seconds: int = 7 * 86_400,
        placement: Placement = "aggregator",
    ) -> None:
        """Open the first round of a training."""
        training = Training(
            model=model,
            catalog=CATALOG.sha256,
            items=len(CATALOG),
            users=4,
            epsilon=epsilon,
            delta=1e-6,
            min_batch_size=4,
            round_seconds=seconds,
            placement=placement,
        )
        self.pair.start(training)
        self.pair.refresh(model)

    def device(
        self,
        name: str,
        model: str,
        *,
        kind: type[Settings] = NewDeviceSettings,
        anchor: RollbackAnchorFile | None = None,
        clock: Clock | None = None,
        lifetime_epsilon: float = 1_000.0,
        placement: Placement = "aggregator",
    ) -> Personalizer:
        """A device on `name`.db that likes one item and shares with the pair."""
        settings = kind(
            path=str(self.folder / f"{name}.db"),
            aggregators=Aggregators(
                **self.pair.aggregators(model), placement=placement
            ),
            lifetime_epsilon=lifetime_epsilon,
            min_batch_size=4,
        )
        device = Personalizer(
            CATALOG,
            settings,
            key=FIXED_KEY,
            consent=SHARING,
            transport=self.relay,
            rollback_anchor=anchor,
            clock=clock,
        )
        device.observe(Event(kind="like", item_id="item-3"))
        return device


@contextmanager
def sharing_town(folder: Path) -> Iterator[SharingTown]:
    """A pair of two processes, without any device yet."""
    with running_pair(folder / "pair", min_batch_floor=4) as pair:
        yield SharingTown(pair, folder, Relay())
