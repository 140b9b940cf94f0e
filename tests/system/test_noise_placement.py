"""Where devices add the noise: whole trainings over the real pair, and the label wherever it is."""

import json

import pytest

from tactful.device.settings import Aggregators
from tactful.errors import TactfulError, TaskRejected
from tactful.person.render import LANGUAGES, render
from tactful.person.story import story

TWELVE = range(12)
MODES = {"devices": {"placement": "devices", "honest": 3}, "local": {"placement": "local"}}
LABEL = {
    "devices": "noise in shares by devices, of which at least 3",
    "local": "local: each device",
}


def joined(town, placement: str) -> dict[str, object]:
    """The settings of a device that was promised this placement."""
    return {
        "aggregators": Aggregators(**town.pair.aggregators(town.model), placement=placement),
        "lifetime_epsilon": 2000.0,
    }


@pytest.mark.parametrize("placement", MODES)
def test_a_training_ends_in_a_model_that_says_who_added_the_noise(town, placement: str) -> None:
    devices = [town.device(number, **joined(town, placement)) for number in TWELVE]
    town.train(devices, **MODES[placement])

    releases = [device.refresh() for device in devices]

    assert {release.placement for release in releases} == {placement}
    assert releases[0].epsilon <= 100.0
    assert releases[0].batch_size == 12
    device = devices[0]
    charges = device.memory.ledger.charges
    assert {charge.event["placement"] for charge in charges} == {placement}
    assert {charge.event["family"] for charge in charges} == {"discrete_gaussian"}
    for disclosure in device.memory.disclosures.values():
        assert LABEL[placement] in disclosure.meaning
    told = json.dumps(device.evidence())
    assert LABEL[placement] in told
    assert all("no single" not in page and "two separate" not in page for page in pages(device))


def pages(device) -> list[str]:
    """The person's page in every language; local noise is called so in each."""
    made = [render(story(device), language) for language in LANGUAGES]
    if device.settings.aggregators.placement == "local":
        assert all("local" in page.partition('id="sent"')[2] for page in made)
    return made


@pytest.mark.parametrize("placement", MODES)
def test_the_sum_carries_the_noise_of_devices_and_none_of_the_halves(town, placement: str) -> None:
    """A task's own halves say so: each stored what it summed, nothing was drawn."""
    from tactful_aggregator.datastore import Datastore
    from tactful_aggregator.provision import of_round

    town.pair.start(town.training(**MODES[placement]))
    town.pair.refresh(town.model)
    for running in (town.pair.leader, town.pair.helper):
        store = Datastore(running.half.database, running.half.settings.role)
        with store.transaction() as tx:
            task = tx.tasks(town.model)[-1]
        store.close()
        assert of_round(task, running.half).noise is None
        assert task.release.placement == placement


def test_a_device_that_was_promised_the_pairs_noise_joins_no_local_round(town) -> None:
    town.pair.start(town.training(placement="local"))
    town.pair.refresh(town.model)

    with town.device() as device, pytest.raises(TaskRejected, match=r"^task\.placement: "):
        device.contribute()
    assert not device.memory.ledger.charges


def test_two_alike_trainings_in_one_second_have_tasks_of_their_own(town) -> None:
    """Each has its own batch: nothing of the first is counted in the second."""
    from tactful_aggregator.datastore import Datastore

    half = town.pair.leader.half
    for _ in range(2):
        changed = town.training(users=1, epsilon=0.01)
        town.pair.start(changed)
        town.pair.refresh(town.model)
        devices = [town.device(number) for number in range(4)]
        for device in devices:
            device.contribute()
        assert town.pair.refresh(town.model)["state"] == "released"
    store = Datastore(half.database, "leader")
    with store.transaction() as tx:
        tasks = tx.tasks(town.model)
        counts = [tx.released(task.id, 0, 1).count for task in tasks]
    store.close()

    assert len({task.id for task in tasks}) == 2
    assert counts == [4, 4]


def test_shares_that_count_on_more_than_a_batch_are_refused_by_name(town) -> None:
    with pytest.raises(TactfulError, match="honest"):
        town.pair.start(town.training(placement="devices", honest=5))
