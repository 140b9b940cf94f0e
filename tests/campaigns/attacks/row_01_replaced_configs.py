"""A relay answers with HPKE configs of its own, and hopes to read what devices measured."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sharing_device import SharingTown, sharing_town

from tactful.errors import HpkeConfigRejected
from tactful.protocol.dap import hpke
from tactful.protocol.dap.messages import (
    HpkeCiphertext,
    HpkeConfig,
    Report,
    decode_plaintext_share,
    encode_config_list,
    input_share_aad,
)
from tactful.protocol.dap.signed_hpke_config import ConfigDocument
from tactful.protocol.dap.versions import HELPER, LEADER
from tactful.protocol.documents.task import Task
from tactful.protocol.transport import Request, Response

TITLE = "A relay replaces the HPKE configs"
DEVICES = 4


@dataclass
class Keys:
    """What the relay made for itself: two keys that it can open, and one to sign with."""

    opening: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)
    signing: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def config(self) -> HpkeConfig:
        """The relay's own config, under the number of the half's."""
        return HpkeConfig(1, self.opening.public_key().public_bytes_raw())

    def opened(
        self, task: Task, report: Report, sealed: HpkeCiphertext, role: int
    ) -> bytes:
        """A share that was sealed to the relay; raises OpenError for any other."""
        aad = input_share_aad(task.dap, report.metadata, report.public_share)
        info = task.dap.dap.input_share_info(role)
        plain = hpke.open_(self.opening, sealed.enc, info, aad, sealed.payload)
        return decode_plaintext_share(plain)


def attack(folder: Path) -> str | None:
    """Replace both halves' configs in every form, and open what comes."""
    keys = Keys()
    with sharing_town(folder) as town:
        town.opened("shop")
        town.relay.lies.append(lambda request: _lie(town, keys, request))
        read, spent = 0, 0
        for number in range(DEVICES):
            with town.device(str(number), "shop") as device:
                try:
                    task = device.sharing.contribute().task
                    read += _is_read(keys, task, town.relay.uploads[-1])
                except HpkeConfigRejected:
                    pass
                spent += device.status.ledger.spent > 0
    if read:
        return f"both shares, and so the measurement, of {read} of {DEVICES} devices"
    if spent:
        return f"{spent} devices charged their budget for nothing"
    return None


def _lie(town: SharingTown, keys: Keys, request: Request) -> Response | None:
    """The relay's own configs, unsigned where no signature is due, else with its own."""
    if request.url.endswith("/hpke_config"):
        return Response(200, encode_config_list([keys.config]))
    if not request.url.endswith("/hpke_config/signed"):
        return None
    role = "leader" if request.url.startswith(town.pair.leader.url) else "helper"
    now = int(time.time())
    document = ConfigDocument(
        version="tactful-1",
        role=role,
        epoch=now,
        config=keys.config.encode().hex(),
        not_before=now - 60,
        not_after=now + 86_400,
    )
    return Response(200, document.signed(keys.signing))


def _is_read(keys: Keys, task: Task, body: bytes) -> bool:
    report = Report.decode(body, task.dap.dap)
    shares = [
        keys.opened(task, report, report.leader, LEADER),
        keys.opened(task, report, report.helper, HELPER),
    ]
    return all(shares)
