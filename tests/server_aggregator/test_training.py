"""A training goes on after whatever was lost between the halves, with tasks of its own."""

import numpy as np
import pytest

from tactful.errors import BatchTooSmall, InvalidInput, TaskRejected, TransportError
from tactful.protocol.experiment import Arm, Experiment, Metric
from tactful.protocol.model import ModelRelease
from tactful.protocol.task import Task
from tactful_aggregator import experiments, refresh
from tactful_aggregator.experiments import Opening
from tactful_aggregator.refresh import Training

ROUNDS = {"users": 10_000, "epsilon": 8.0}  # enough for more rounds than one


class Losing:
    """The pair, whose helper signs and whose answer is then lost, `times` times."""

    def __init__(self, pair, times: int) -> None:
        self.pair, self.times = pair, times

    def sign_task(self, task: Task, signature: bytes) -> bytes:
        answer = self.pair.sign_task(task, signature)
        self.times -= 1
        if self.times >= 0:
            raise TransportError("the answer was lost")
        return answer

    def sign_release(self, release: ModelRelease, signature: bytes) -> bytes:
        return self.pair.sign_release(release, signature)

    def collect(self, task: Task) -> tuple[np.ndarray, int]:
        return self.pair.collect(task)


def training(**changes: object) -> Training:
    chosen = {
        "model": "films",
        "catalog": "c" * 64,
        "items": 40,
        "delta": 1e-6,
        "min_batch_size": 4,
        **ROUNDS,
    }
    return Training(**{**chosen, **changes})


def newest(pair) -> Task:
    with pair.leader_store.transaction() as tx:
        return tx.tasks("films")[-1]


def contributed(pair, task: Task) -> None:
    rows = np.full((4, task.encoding.padded), 7)
    assert pair.receive(task, *pair.reports(task, rows)) == []


def test_a_round_whose_signature_was_lost_is_asked_for_again_as_it_was(pair, now: int) -> None:
    """In every round: another document for it would be one round too many at the helper."""
    store, peer = pair.leader_store, Losing(pair, 0)
    refresh.start(store, pair.leader, training(), now)
    standing, number = refresh.standing_of(store, "films"), 0
    while number < standing.plan.rounds:  # as the first round has settled it
        peer.times = 2
        for later in (0, 5):
            try:
                refresh.step(store, pair.leader, peer, "films", now + later)
            except TransportError:
                pass
            else:
                raise AssertionError("nothing was lost")
        standing = refresh.step(store, pair.leader, peer, "films", now + 9)

        assert standing.state == "open"
        assert standing.proposed is None
        mine, theirs = pair.asked(lambda tx: [task.id for task in tx.tasks("films")])
        assert mine == theirs
        number += 1
        assert len(theirs) == number
        contributed(pair, newest(pair))

    assert refresh.step(store, pair.leader, peer, "films", now + 60).state == "released"
    assert standing.plan.rounds > 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"model": "Films!"}, r"task\.model"),
        ({"min_batch_size": 3}, r"task\.min_batch_size"),
        ({"items": 10**9}, "length"),
        ({"round_seconds": 10**18}, r"task\.expires"),
    ],
)
def test_a_training_whose_rounds_nobody_would_sign_never_begins(pair, now, wrong, field) -> None:
    asked = training(**wrong)
    with pytest.raises((InvalidInput, TaskRejected), match=field):
        refresh.start(pair.leader_store, pair.leader, asked, now)

    with pytest.raises(InvalidInput, match="is not in training"):
        refresh.standing_of(pair.leader_store, asked.model)


def test_a_training_can_be_corrected_until_a_round_is_open_and_not_after(pair, now: int) -> None:
    store = pair.leader_store
    for users in (5_000, 10_000):
        refresh.start(store, pair.leader, training(users=users), now)
    refresh.step(store, pair.leader, pair, "films", now)

    with pytest.raises(InvalidInput, match="in training already"):
        refresh.start(store, pair.leader, training(), now)
    assert refresh.standing_of(store, "films").training.users == 10_000


def test_a_round_that_ended_with_too_few_is_not_the_end_of_its_model(pair, now: int) -> None:
    store, over = pair.leader_store, now + 7 * 86_400
    refresh.start(store, pair.leader, training(epsilon=0.01), now)
    refresh.step(store, pair.leader, pair, "films", now)
    with pytest.raises(BatchTooSmall, match="wait for more"):
        refresh.step(store, pair.leader, pair, "films", over - 1)
    with pytest.raises(BatchTooSmall, match="start the training again"):
        refresh.step(store, pair.leader, pair, "films", over)

    refresh.start(store, pair.leader, training(epsilon=0.01), over)
    refresh.step(store, pair.leader, pair, "films", over)
    pair.now = over
    task = newest(pair)
    rows = np.full((4, task.encoding.padded), 7)
    assert pair.receive(task, *(pair.report(task, row, over) for row in rows)) == []

    assert refresh.step(store, pair.leader, pair, "films", over).state == "released"


def test_a_round_that_ended_with_enough_is_collected_not_begun_again(pair, now: int) -> None:
    store, over = pair.leader_store, now + 7 * 86_400
    refresh.start(store, pair.leader, training(epsilon=0.01), now)
    refresh.step(store, pair.leader, pair, "films", now)
    contributed(pair, newest(pair))

    with pytest.raises(InvalidInput, match="in training already"):
        refresh.start(store, pair.leader, training(), over)
    assert refresh.step(store, pair.leader, pair, "films", over).state == "released"


def test_two_alike_trainings_at_one_moment_have_two_tasks(pair, now: int) -> None:
    store = pair.leader_store
    for number in range(2):
        refresh.start(store, pair.leader, training(epsilon=0.01), now)
        refresh.step(store, pair.leader, pair, "films", now)
        contributed(pair, newest(pair))
        standing = refresh.step(store, pair.leader, pair, "films", now)
        assert standing.state == "released", number

    with store.transaction() as tx:
        assert [tx.released(task.id, 0, 1).count for task in tx.tasks("films")] == [4, 4]


def test_a_period_that_ended_with_too_few_is_left_out_and_not_the_end(pair, now: int) -> None:
    trial = Experiment(
        id="colours",
        layer="ranking",
        first=0,
        slots=100,
        opens=0,
        closes=1 << 40,
        days=3,
        arms=(Arm(name="control", share="1/2"), Arm(name="varied", share="1/2")),
        metrics=(Metric(name="clicks", counts="click", low=0, high=8, effect=2),),
    )
    opening = Opening(experiment=trial, epsilon=1000.0, delta=1e-6, min_batch_size=4)
    both = (pair.leader_store, pair.leader, pair)
    experiments.start(*both, opening, now)
    with pytest.raises(InvalidInput, match="read it first"):
        experiments.start(*both, opening, now)
    with pytest.raises(BatchTooSmall):
        experiments.read(*both, trial.id, now)
    pair.now = over = now + 7 * 86_400

    task = experiments.start(*both, opening, over)
    rows = np.full((4, task.encoding.padded), 7)
    assert pair.receive(task, *(pair.report(task, row, over) for row in rows)) == []

    for _ in range(2):
        with pytest.raises(InvalidInput, match="people"):  # nobody of them was in an arm
            experiments.read(*both, trial.id, over)
    with pair.leader_store.transaction() as tx:
        assert [one.people for one in tx.periods(task.model)] == [4]
