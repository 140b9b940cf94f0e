"""A real pair in two processes, and devices that share with it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tactful.device.clock import Clock
from tactful.device.consent import Consent
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Aggregators, Settings
from tactful.protocol.transport import HttpTransport, Request, Response, Transport
from tactful.testing import FIXED_KEY, LOCAL, NewDeviceSettings, small_catalog
from tactful_aggregator.testing import RunningPair, running_pair
from tactful_aggregator.training.state import Training

CATALOG = small_catalog()
SHARING = LOCAL.grant("share_dp_updates")
LIKES_PER_DEVICE = 6


@dataclass
class Wire:
    """The network, noting every request; `answer` may stand in for it."""

    answer: Callable[[Request], Response] = field(
        default_factory=lambda: HttpTransport().send
    )
    requests: list[Request] = field(default_factory=list)

    def send(self, request: Request) -> Response:
        self.requests.append(request)
        return self.answer(request)

    @property
    def uploads(self) -> list[bytes]:
        return [one.body for one in self.requests if one.url.endswith("/reports")]


@dataclass(frozen=True)
class Town:
    """Some devices and the pair they share with, for one model."""

    pair: RunningPair
    model: str
    folder: Path

    def training(self, **changes: object) -> Training:
        """Three rounds for twelve devices; so small a crowd needs an epsilon that hides little.

        Words tell the shelves apart that devices like, or a trial by twelve could go either way.
        """
        chosen: dict[str, object] = {
            "model": self.model,
            "catalog": CATALOG.sha256,
            "items": len(CATALOG),
            "users": 12,
            "epsilon": 1_000.0,
            "delta": 1e-6,
            "min_batch_size": 4,
            "words": tuple(
                (f"shelf{number % 5}", f"item{number}")
                for number in range(len(CATALOG))
            ),
        }
        return Training(**{**chosen, **changes})

    def settings(self, number: int, **changes: object) -> Settings:
        """What device `number` is set to."""
        chosen: dict[str, object] = {
            "path": str(self.folder / f"{number}.db"),
            "aggregators": Aggregators(**self.pair.aggregators(self.model)),
            "lifetime_epsilon": 20_000.0,
            "min_batch_size": 4,
        }
        return NewDeviceSettings(**{**chosen, **changes})

    def device(
        self,
        number: int = 0,
        *,
        consent: Consent = SHARING,
        transport: Transport | None = None,
        clock: Clock | None = None,
        **changes: object,
    ) -> Personalizer:
        """Device `number`, which likes a few items of one category."""
        settings = self.settings(number, **changes)
        known = settings.path is not None and Path(settings.path).exists()
        device = Personalizer(
            CATALOG,
            settings,
            key=FIXED_KEY,
            consent=consent,
            transport=transport or Wire(),
            clock=clock,
        )
        if not known:
            for step in range(LIKES_PER_DEVICE):
                item_id = f"item-{(number % 5 + 5 * step) % len(CATALOG)}"
                device.observe(Event(kind="like", item_id=item_id))
        return device

    def train(self, devices: list[Personalizer], **changes: object) -> None:
        """All rounds of a training, until its model is released."""
        self.pair.start(self.training(**changes))
        while self.pair.refresh(self.model)["state"] != "released":
            for device in devices:
                device.sharing.contribute()


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPair]:
    """A leader and a helper that run, and release no batch below 4 reports."""
    with running_pair(tmp_path_factory.mktemp("pair"), min_batch_floor=4) as running:
        yield running


@pytest.fixture
def town(pair: RunningPair, tmp_path: Path) -> Town:
    """A model and a folder of their own."""
    return Town(pair, f"town-{abs(hash(tmp_path)):x}"[:40], tmp_path)


@pytest.fixture
def wire() -> type[Wire]:
    """The class of networks that note what passes."""
    return Wire
