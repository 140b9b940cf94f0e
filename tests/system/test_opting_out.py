"""Saying no is not visible: the silent send the same nothing, and cover looks like sharing."""

import re

import numpy as np
import pytest

from tactful.device.consent import Restrictions
from tactful.errors import BudgetExhausted, ConsentMissing
from tactful.testing import LOCAL

SHARING = LOCAL.grant("share_dp_updates")
COVER = LOCAL.grant("cover_traffic")


def test_the_silent_are_all_alike_whatever_silences_them(town, wire) -> None:
    """Nothing but the model's own public schedule is asked for."""
    town.train([town.device(number) for number in range(12)])
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    silent = {
        "opted out": town.device(20, consent=LOCAL),
        "restricted": town.device(21),
        "out of budget": town.device(22, lifetime_epsilon=0.0),
    }
    silent["restricted"].restrictions = Restrictions(os=True)
    logs = {}
    for name, device in silent.items():
        seen = device._core.sharing._transport
        with pytest.raises((ConsentMissing, BudgetExhausted)):
            device.sharing.contribute()
        device.sharing.refresh()
        device.recommend(5)
        logs[name] = [(one.method, one.url, one.body) for one in seen.requests]

    public = [
        entry for entry in logs["out of budget"] if not entry[1].endswith("/task")
    ]
    assert logs["opted out"] == logs["restricted"]
    # who is out of budget asked what the round would cost: the same for all, and it was answered no
    assert [
        one for one in public if "/hpke" not in one[1] and "/files" not in one[1]
    ] == [one for one in logs["opted out"] if "/files" not in one[1]]


def test_cover_costs_nothing_adds_nothing_and_takes_the_place_of_a_report(
    town, wire
) -> None:
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    seen = wire()
    with town.device(consent=COVER, transport=seen) as device:
        first = device.sharing.cover()
        assert device.status.ledger.spent == 0
        assert "zeros" in first.disclosure.meaning
        device.agree(COVER.grant("share_dp_updates"))
        assert device.sharing.contribute().repeated
        assert device.status.ledger.spent == 0
    assert len(seen.uploads) == 1


def test_without_its_own_consent_no_cover_is_sent(town, wire) -> None:
    seen = wire()
    with (
        town.device(consent=SHARING, transport=seen) as device,
        pytest.raises(ConsentMissing, match="cover_traffic"),
    ):
        device.sharing.cover()
    assert not seen.requests


def test_a_classifier_of_what_the_leader_sees_cannot_tell_cover_from_sharing(
    town, wire
) -> None:
    """Bytes, sizes, order and addresses of all requests; half to learn from, half to be tested."""
    town.pair.start(town.training(users=400))
    town.pair.refresh(town.model)
    people, features = 160, []
    labels = np.arange(people) % 2
    for number, shares in enumerate(labels):
        seen = wire()
        with town.device(
            number, consent=SHARING if shares else COVER, transport=seen, path=None
        ) as device:
            device.sharing.contribute() if shares else device.sharing.cover()
        features.append(features_of(seen.requests))

    table = np.array(features, dtype=float)
    assert (
        len({tuple(row[:8]) for row in table}) == 1
    )  # sizes and addresses never differ
    accuracy = learnt_accuracy(table, labels)
    assert abs(accuracy - 0.5) < 4 * 0.5 / np.sqrt(people / 2)


def features_of(requests) -> list[float]:
    shapes = [float(len(one.body)) for one in requests] + [
        float(len(one.url)) for one in requests
    ]
    counts = np.bincount(
        np.frombuffer(requests[-1].body, dtype=np.uint8), minlength=256
    )
    return [*shapes[:8], *counts.tolist()]


def learnt_accuracy(table, labels) -> float:
    """Of linear discrimination, each feature for itself."""
    half = len(labels) // 2
    learn, known = table[:half], labels[:half] == 1
    means = learn[known].mean(axis=0), learn[~known].mean(axis=0)
    within = learn[known].var(axis=0) + learn[~known].var(axis=0)
    weights = (means[0] - means[1]) / (within + 1e-9)
    scores = (table[half:] - (means[0] + means[1]) / 2) @ weights
    return float(np.mean((scores > 0) == (labels[half:] == 1)))


def test_the_classifier_would_find_a_difference_if_there_were_one() -> None:
    generator = np.random.default_rng(1)
    labels = np.arange(160) % 2
    table = generator.poisson(30, size=(160, 264)).astype(float)
    table[:, 40] += 30 * labels

    assert learnt_accuracy(table, labels) > 0.9


def test_no_request_names_a_consent(town, wire) -> None:
    town.pair.start(town.training())
    town.pair.refresh(town.model)
    seen = wire()
    with town.device(transport=seen) as device:
        device.sharing.contribute()
        device.agree(LOCAL)
        sent = b" ".join(one.url.encode() + one.body for one in seen.requests)
    assert not re.search(rb"consent|opt|grant|withdr|denied|share_dp", sent)
