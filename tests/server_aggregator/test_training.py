"""A training goes on after whatever was lost between the halves, with tasks of its own."""

import numpy as np

from tactful.errors import TransportError
from tactful.protocol.model import ModelRelease
from tactful.protocol.task import Task
from tactful_aggregator import refresh
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
    refresh.start(store, training())
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


def test_two_alike_trainings_at_one_moment_have_two_tasks(pair, now: int) -> None:
    store = pair.leader_store
    for number in range(2):
        refresh.start(store, training(epsilon=0.01))
        refresh.step(store, pair.leader, pair, "films", now)
        contributed(pair, newest(pair))
        standing = refresh.step(store, pair.leader, pair, "films", now)
        assert standing.state == "released", number

    with store.transaction() as tx:
        assert [tx.released(task.id, 0, 1).count for task in tx.tasks("films")] == [4, 4]
