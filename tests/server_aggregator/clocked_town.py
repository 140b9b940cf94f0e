"""A pair on a clock that only tests turn, and a whole device that shares with it: one process."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dap_pair import DapPair

from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Aggregators
from tactful.device.vault.rollback_anchor import RollbackAnchorFile
from tactful.protocol.dap.signed_hpke_config import ConfigDocument, verified
from tactful.protocol.transport import Request, Response
from tactful.testing import (
    FIXED_KEY,
    LOCAL,
    FrozenClock,
    NewDeviceSettings,
    small_catalog,
)
from tactful_aggregator.http import ApiRequest

DAY = 86_400
SIGNED = "/hpke_config/signed"
CATALOG = small_catalog()


class Town:
    """A pair on a clock of its own, one open round for each model, and one device."""

    def __init__(self, folder: Path) -> None:
        self.pair, self.folder = DapPair(folder / "pair"), folder
        self.seen: list[Request] = []
        self.answers: dict[
            str, Callable[[Request], Response]
        ] = {}  # by the end of an address: what is answered in place of the pair
        self.opened("shop")

    def opened(self, model: str, **changes: object) -> None:
        training: dict[str, object] = {
            "model": model,
            "catalog": CATALOG.sha256,
            "items": len(CATALOG),
            "users": 4,
            "epsilon": 8.0,
            "delta": 1e-6,
            "min_batch_size": 1,
        }
        service = self.pair.leader_service
        service.start(ApiRequest({}, json.dumps({**training, **changes}).encode()))
        service.advance(ApiRequest({"model": model}, b""))

    def send(self, request: Request) -> Response:
        self.seen.append(request)
        for end, answer in self.answers.items():
            if request.url.endswith(end):
                return answer(request)
        return self.pair.network.send(request)

    @property
    def uploads(self) -> list[bytes]:
        return [one.body for one in self.seen if one.url.endswith("/reports")]

    def device(
        self,
        model: str = "shop",
        clock: FrozenClock | None = None,
        anchor: RollbackAnchorFile | None = None,
        **changes: object,
    ) -> Personalizer:
        aggregators = self.pair.leader, self.pair.helper
        chosen: dict[str, object] = {
            "path": str(self.folder / "device.db"),
            "aggregators": Aggregators(
                model=model,
                leader=aggregators[0].settings.url,
                helper=aggregators[1].settings.url,
                leader_key=aggregators[0].pairing_document.signing_key,
                helper_key=aggregators[1].pairing_document.signing_key,
            ),
            "lifetime_epsilon": 1_000.0,
            "min_batch_size": 1,
        }
        device = Personalizer(
            CATALOG,
            NewDeviceSettings(**{**chosen, **changes}),
            key=FIXED_KEY,
            consent=LOCAL.grant("share_dp_updates"),
            transport=self,
            clock=clock or self.clock(),
            rollback_anchor=anchor,
        )
        device.observe(Event(kind="like", item_id="item-3"))
        return device

    def clock(self) -> FrozenClock:
        """A clock of a device that was just switched on."""
        return FrozenClock(datetime.fromtimestamp(self.pair.now, UTC))

    def document(self, role: str = "leader") -> ConfigDocument:
        aggregator = getattr(self.pair, role)
        body = self.pair.network.send(
            Request("GET", aggregator.settings.url + SIGNED)
        ).body
        return verified(
            body,
            role,
            base64.b64decode(aggregator.pairing_document.signing_key),
            self.pair.now,
        )

    def replaced(
        self, document: ConfigDocument, key: Ed25519PrivateKey | None = None
    ) -> None:
        """Answer with `document` where the half of its role is asked for its config."""
        aggregator = getattr(self.pair, document.role)
        body = document.signed(key or aggregator.keys.signer)
        self.answers[aggregator.settings.url + SIGNED] = lambda request: Response(
            200, body
        )

    def rotate(self, *, days: int = 0) -> None:
        self.pair.rotate()
        self.pair.now += days * DAY

    def counted(self) -> int:
        with self.pair.leader_service.store.transaction() as tx:
            return tx.reports.count_not_refused(tx.tasks.of_model("shop")[0].id)
