"""One honest audit's evidence, made once by a small training in this process."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tactful.audit.checks import parameters
from tactful.audit.evidence.audit_case import AuditCase
from tactful.audit.finding import Status
from tactful.audit.run import CHECKS, run_check
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.rights.ledger_export import SIGNED_AS
from tactful.device.settings import Aggregators
from tactful.privacy.budget import chain
from tactful.protocol.documents.evidence import Evidence
from tactful.testing import FIXED_KEY, LOCAL, NewDeviceSettings, small_catalog
from tactful_aggregator.training import steps
from tactful_aggregator.training.state import Training
from tactful_lab.evidence.bundle import merge, published_evidence
from tactful_lab.evidence.staging import StagingPair, staging_pair
from tactful_lab.evidence.staging_run import staging_evidence

CATALOG, MODEL, DEVICES = small_catalog(), "films", 8
BY_NAME = {check.id: check for check in CHECKS}


def check_result(name: str, evidence: Evidence) -> tuple[Status, str]:
    """How one check ends, and what it measured."""
    status, outcome = run_check(BY_NAME[name], AuditCase(evidence))
    return status, outcome.measured


def documented(evidence: Evidence, **changes: object) -> Evidence:
    """The evidence with other documents."""
    return replace(evidence, documents=replace(evidence.documents, **changes))


def exported(ledger: str, change: Callable[[dict[str, object]], None]) -> str:
    """A ledger whose owner changed it, and hashed and signed it again."""
    document = json.loads(json.loads(ledger)["document"])
    change(document)
    hashes = chain(document["entries"])
    document["head"] = hashes[-1] if hashes else "0" * 64
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    forger = Ed25519PrivateKey.from_private_bytes(bytes(32))
    return json.dumps(
        {
            "document": text,
            "public_key": base64.b64encode(
                forger.public_key().public_bytes_raw()
            ).decode(),
            "signature": base64.b64encode(
                forger.sign(SIGNED_AS + text.encode())
            ).decode(),
        }
    )


@pytest.fixture(autouse=True)
def small_crowds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainings here are of eight devices."""
    monkeypatch.setattr(
        parameters, "LEAST_BATCH", dict.fromkeys(parameters.LEAST_BATCH, 4)
    )


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """All that an honest pair and honest devices show."""
    folder = tmp_path_factory.mktemp("honest")
    with staging_pair(folder) as pair:
        devices = [_device(pair, folder, number) for number in range(DEVICES)]
        _train(pair, devices)
        ledgers = [
            json.dumps(device.sharing.ledger_evidence()) for device in devices[:2]
        ]
        shown = published_evidence(pair.leader, MODEL, ledgers, eligible=DEVICES)
        for device in devices:
            device.close()
    return merge(shown, staging_evidence(3.0, 1e-6, canaries=400))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[StagingPair]:
    """A pair in this process, for a fault to be planted in."""
    with staging_pair(tmp_path) as made:
        yield made


def _device(
    pair: StagingPair, folder: Path, number: int, placement: str = "aggregator"
) -> Personalizer:
    keys = (base64.b64encode(key).decode() for key in pair.leader.public_keys())
    leader_key, helper_key = keys
    settings = NewDeviceSettings(
        path=str(folder / f"{number}.db"),
        aggregators=Aggregators(
            model=MODEL,
            leader=pair.leader.settings.url,
            helper=pair.helper.settings.url,
            leader_key=leader_key,
            helper_key=helper_key,
            placement=placement,
        ),
        lifetime_epsilon=2000.0,
        min_batch_size=4,
    )
    consent = LOCAL.grant("share_dp_updates")
    device = Personalizer(
        CATALOG, settings, key=FIXED_KEY, consent=consent, transport=pair.carrier
    )
    device.observe(Event(kind="like", item_id=f"item-{number}"))
    return device


def _train(pair: StagingPair, devices: list[Personalizer], **changes: object) -> None:
    import time

    store = pair.stores[0]
    training = Training(
        model=MODEL,
        catalog=CATALOG.sha256,
        items=len(CATALOG),
        users=12,
        epsilon=100.0,
        delta=1e-6,
        min_batch_size=4,
        **changes,
    )
    steps.start(store, pair.leader, training, int(time.time()))
    while (
        steps.step(store, pair.leader, pair.coordinator, MODEL, int(time.time())).state
        != "released"
    ):
        for device in devices:
            device.sharing.contribute()
    for device in devices:
        device.sharing.refresh()
