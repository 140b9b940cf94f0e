"""A relay plays back an old signed config, or a half signs one for each device."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sharing_device import SharingTown, sharing_town

from tactful.errors import HpkeConfigRejected
from tactful.protocol.dap.messages import HpkeConfig, Report
from tactful.protocol.dap.signed_hpke_config import ConfigDocument, verified
from tactful.protocol.dap.versions import DAP_18
from tactful.protocol.transport import Request, Response

TITLE = "An old or a personal HPKE config"
MARKED = 77  # the number of a config that only one device is given


def attack(folder: Path) -> str | None:
    """Let a device meet a new key, then show it the old one, and one made for it alone."""
    with sharing_town(folder) as town:
        for model in ("first", "second", "third"):
            town.opened(model)
        url = town.pair.leader.url
        old = {
            path: town.relay.honest(Request("GET", url + path))
            for path in ("/hpke_config", "/hpke_config/signed")
        }
        _rotate(town)
        with town.device("phone", "first") as device:
            device.sharing.contribute()
            spent = device.status.ledger.spent
        town.relay.lies.append(lambda request: old.get(request.url.removeprefix(url)))
        if _sent(town, "second"):
            return "a report sealed to a key that had been replaced"
        personal = _personal(town)
        town.relay.lies[:] = [
            lambda request: (
                personal if request.url == url + "/hpke_config/signed" else None
            )
        ]
        if _sent(town, "third") and _named(town) == MARKED:
            return "a report that names the key made for one device"
        town.relay.lies.clear()
        with town.device("phone", "third") as device:
            if device.status.ledger.spent != spent:
                return "a charge for reports that were never sent"
    return None


def _rotate(town: SharingTown) -> None:
    command = [sys.executable, "-m", "tactful_aggregator.cli", "rotate-key"]
    folder = str(town.pair.leader.aggregator.folder)
    subprocess.run([*command, "--dir", folder], check=True, stdout=subprocess.DEVNULL)


def _sent(town: SharingTown, model: str) -> bool:
    with town.device("phone", model) as device:
        try:
            device.sharing.contribute()
        except HpkeConfigRejected:
            return False
    return True


def _personal(town: SharingTown) -> Response:
    """A config for one device under the epoch of everybody's, signed by the leader itself."""
    half = town.pair.leader.aggregator
    url = f"{town.pair.leader.url}/hpke_config/signed"
    public = half.keys.signer.public_key().public_bytes_raw()
    body = town.relay.honest(Request("GET", url)).body
    everybodys: ConfigDocument = verified(body, "leader", public, int(time.time()))
    key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    personal = replace(everybodys, config=HpkeConfig(MARKED, key).encode().hex())
    return Response(200, personal.signed(half.keys.signer))


def _named(town: SharingTown) -> int:
    return Report.decode(town.relay.uploads[-1], DAP_18).leader.config_id
