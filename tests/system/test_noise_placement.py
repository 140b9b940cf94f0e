"""Where devices add the noise: whole trainings over the real pair, and the label wherever it is."""

import base64
import json
import secrets
import time

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.device.events import Event
from tactful.device.measurement import measure
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Aggregators
from tactful.errors import TactfulError, TaskRejected
from tactful.person.page_content import page_content
from tactful.person.render import LANGUAGES, render
from tactful.privacy.calibration import noise_for
from tactful.privacy.mechanism import Placement, format_fraction
from tactful.protocol.dap.dap_task import encoded
from tactful.protocol.documents.task import SIGNED_AS, SignedTask, Task
from tactful.protocol.transport import HttpTransport, Request, Response
from tactful.protocol.vector_encoding import Encoding
from tactful.testing import FIXED_KEY, LOCAL, NewDeviceSettings, small_catalog
from tactful_aggregator.dap.collector import Collector
from tactful_aggregator.task_registry import OperatorTask

CATALOG, SHARING = small_catalog(), LOCAL.grant("share_dp_updates")

TWELVE = range(12)
MODES = {
    "devices": {"placement": "devices", "honest": 3},
    "local": {"placement": "local"},
}
LABEL = {
    "devices": "noise in shares by devices, of which at least 3",
    "local": "local: each device",
}


def joined(town, placement: str) -> dict[str, object]:
    """The settings of a device that was promised this placement."""
    return {
        "aggregators": Aggregators(
            **town.pair.aggregators(town.model), placement=placement
        ),
        "lifetime_epsilon": 20_000.0,
    }


@pytest.mark.parametrize("placement", MODES)
def test_a_training_ends_in_a_model_that_says_who_added_the_noise(
    town, placement: str
) -> None:
    devices = [town.device(number, **joined(town, placement)) for number in TWELVE]
    town.train(devices, **MODES[placement])

    releases = [device.sharing.refresh() for device in devices]

    assert {release.placement for release in releases} == {placement}
    assert releases[0].epsilon <= 1_000.0
    assert releases[0].batch_size == 12
    device = devices[0]
    charges = device.status.ledger.charges
    assert {charge.event["placement"] for charge in charges} == {placement}
    assert {charge.event["family"] for charge in charges} == {"discrete_gaussian"}
    for disclosure in device.status.disclosures.values():
        assert LABEL[placement] in disclosure.meaning
    told = json.dumps(device.sharing.ledger_evidence())
    assert LABEL[placement] in told
    assert all(
        "no single" not in page and "two separate" not in page for page in pages(device)
    )


def pages(device) -> list[str]:
    """The person's page in every language; local noise is called so in each."""
    made = [render(page_content(device), language) for language in LANGUAGES]
    if device.settings.aggregators.placement == "local":
        assert all("local" in page.partition('id="sent"')[2] for page in made)
    return made


@pytest.mark.parametrize("placement", MODES)
def test_the_sum_carries_the_noise_of_devices_and_none_of_the_halves(
    town, placement: str
) -> None:
    """A task's own halves say so: each stored what it summed, nothing was drawn."""
    from tactful_aggregator.datastore import Datastore
    from tactful_aggregator.task_registry import provisioned_round

    town.pair.start(town.training(**MODES[placement]))
    town.pair.refresh(town.model)
    for running in (town.pair.leader, town.pair.helper):
        store = Datastore(running.aggregator.database, running.aggregator.settings.role)
        with store.transaction() as tx:
            task = tx.tasks.of_model(town.model)[-1]
        store.close()
        assert provisioned_round(task, running.aggregator).noise is None
        assert task.release.placement == placement


def test_a_device_that_was_promised_the_pairs_noise_joins_no_local_round(town) -> None:
    town.pair.start(town.training(placement="local"))
    town.pair.refresh(town.model)

    with (
        town.device() as device,
        pytest.raises(TaskRejected, match=r"^task\.placement: "),
    ):
        device.sharing.contribute()
    assert not device.status.ledger.charges


def test_two_alike_trainings_in_one_second_have_tasks_of_their_own(town) -> None:
    """Each has its own batch: nothing of the first is counted in the second."""
    from tactful_aggregator.datastore import Datastore

    half = town.pair.leader.aggregator
    for _ in range(2):
        changed = town.training(users=1, epsilon=0.01, words=())
        town.pair.start(changed)
        town.pair.refresh(town.model)
        devices = [town.device(number) for number in range(4)]
        for device in devices:
            device.sharing.contribute()
        assert town.pair.refresh(town.model)["state"] == "released"
    store = Datastore(half.database, "leader")
    with store.transaction() as tx:
        tasks = tx.tasks.of_model(town.model)
        counts = [tx.batches.released_share(task.id, 0, 1).count for task in tasks]
    store.close()

    assert len({task.id for task in tasks}) == 2
    assert counts == [4, 4]


def test_shares_that_count_on_more_than_a_batch_are_refused_by_name(town) -> None:
    with pytest.raises(TactfulError, match="honest"):
        town.pair.start(town.training(placement="devices", honest=5))


def test_aggregators_that_know_nothing_of_noise_sum_what_devices_made_noisy(
    pair, tmp_path, wire
) -> None:
    """As with foreign aggregators: they serve a plain DAP-09 task, and signed nothing.

    The task is published and signed elsewhere; our collector opens the sum, the task decodes it.
    """
    publisher = Publisher(pair)
    task = publisher.task
    key = X25519PrivateKey.generate()
    pair.serve(publisher.operator_task(key))
    devices = [publisher.device(number, wire) for number in range(6)]

    for device in devices:
        device.sharing.contribute()
        assert (
            "noise in shares" in next(iter(device.status.disclosures.values())).meaning
        )
    collector = Collector(task.dap, 5, key, pair.leader.aggregator.keys.collector_token)
    found = collector.collect(HttpTransport(), collector.everything(), time.sleep)

    total = np.array(task.dap.vdaf.field.signed(found.total))
    vectors = sum(publisher.measured(device) for device in devices)
    levels = (task.decode(total, found.count) - vectors) * task.encoding.levels_per_unit
    assert found.count == 6
    # 30 entries with the noise of 6 devices and their rounding, once in 10^9 beyond 6 sigma
    assert np.abs(levels).max() < 6 * np.sqrt(float(task.noise_variance(6)) + 6 / 4)
    assert np.abs(levels).max() > 0


class Publisher:
    """Whoever publishes a task for aggregators of others, and signs it with keys of its own."""

    url = "https://publisher.example"

    def __init__(self, pair) -> None:
        self.pair = pair
        self.keys = [Ed25519PrivateKey.generate() for _ in range(2)]
        self.task = self._task()
        message = SIGNED_AS + self.task.document
        signed = dict(
            zip(("leader", "helper"), (k.sign(message) for k in self.keys), strict=True)
        )
        self.body = SignedTask(self.task, signed).encode()

    def _task(self) -> Task:
        now, length = int(time.time()), len(CATALOG)
        encoding = Encoding(length, 14, 3, b"")
        family, sigma2 = noise_for(
            Placement.DEVICES,
            norm_bound=encoding.norm_bound,
            dimension=encoding.padded,
            epsilon=4.0,
            delta=1e-6,
            share=1.0,
            honest=5,
        )
        return Task(
            version="tactful-1",
            model="foreign",
            round=0,
            rounds=1,
            kind="popularity",
            catalog=CATALOG.sha256,
            items=length,
            length=length,
            levels=14,
            box=3,
            family=family,
            sigma2=format_fraction(sigma2),
            adjacency="zero_out",
            unit="device",
            epsilon=4.0,
            delta=1e-6,
            min_batch_size=6,
            leader=self.pair.leader.url,
            helper=self.pair.helper.url,
            opens=now // 3600 * 3600,
            expires=now // 3600 * 3600 + 7200,
            guide=None,
            nonce=secrets.token_hex(16),
            placement="devices",
            honest=5,
            protocol="dap-09",
        )

    def operator_task(self, key: X25519PrivateKey) -> OperatorTask:
        """What the aggregators are told: nothing of noise, training or model."""
        task = self.task
        return OperatorTask(
            protocol="dap-09",
            leader=task.leader,
            helper=task.helper,
            time_precision=3600,
            min_batch_size=task.min_batch_size,
            batch_mode="leader_selected",
            opens=task.opens,
            expires=task.expires,
            vdaf=task.vdaf_config,
            info="foreign",
            verify_key=encoded(secrets.token_bytes(32)),
            collector_config_id=5,
            collector_key=encoded(key.public_key().public_bytes_raw()),
            noise="none",
            id=task.encoded_id,
        )

    def answer(self, request: Request) -> Response:
        """Its own documents; all else goes to the aggregators."""
        if request.url.startswith(self.url):
            return Response(200, self.body, {})
        return HttpTransport().send(request)

    def device(self, number: int, wire) -> Personalizer:
        leader_key, helper_key = (
            base64.b64encode(one.public_key().public_bytes_raw()).decode()
            for one in self.keys
        )
        aggregators = Aggregators(
            model="foreign",
            leader=self.task.leader,
            helper=self.task.helper,
            leader_key=leader_key,
            helper_key=helper_key,
            placement="devices",
            publisher=self.url,
        )
        settings = NewDeviceSettings(
            path=None,
            aggregators=aggregators,
            lifetime_epsilon=10.0,
            min_batch_size=4,
        )
        device = Personalizer(
            CATALOG,
            settings,
            key=FIXED_KEY,
            consent=SHARING,
            transport=wire(self.answer),
        )
        device.observe(Event(kind="like", item_id=f"item-{number}"))
        return device

    def measured(self, device: Personalizer) -> np.ndarray:
        """What a device would add if nothing were rounded or noisy."""
        return measure(device._core.likes(device.status), CATALOG, self.task, None)
