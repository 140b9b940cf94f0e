"""A training goes on after whatever was lost between the halves, with tasks of its own."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tactful.errors import BatchTooSmall, InvalidInput, TaskRejected, TransportError
from tactful.protocol.documents.experiment import Arm, Experiment, Metric
from tactful.protocol.documents.model_release import ModelRelease
from tactful.protocol.documents.task import Task
from tactful_aggregator.datastore import Datastore, LockLost
from tactful_aggregator.problems import Problem
from tactful_aggregator.training import experiments, step_lock, steps
from tactful_aggregator.training.experiments import Opening
from tactful_aggregator.training.state import Training, load_state

ROUNDS = {"users": 10_000, "epsilon": 8.0}  # enough for more rounds than one


TRIAL = Experiment(
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
        return tx.tasks.of_model("films")[-1]


def contributed(pair, task: Task) -> None:
    rows = np.full((4, task.encoding.padded), 7)
    assert pair.receive(task, *pair.reports(task, rows)) == []


def test_a_round_whose_signature_was_lost_is_asked_for_again_as_it_was(
    pair, now: int
) -> None:
    """In every round: another document for it would be one round too many at the helper."""
    store, coordinator = pair.leader_store, Losing(pair, 0)
    steps.start(store, pair.leader, training(), now)
    training_state, number = load_state(store, "films"), 0
    while number < training_state.plan.rounds:  # as the first round has settled it
        coordinator.times = 2
        for later in (0, 5):
            try:
                steps.step(store, pair.leader, coordinator, "films", now + later)
            except TransportError:
                pass
            else:
                raise AssertionError("nothing was lost")
        training_state = steps.step(store, pair.leader, coordinator, "films", now + 9)

        assert training_state.state == "open"
        assert training_state.proposed is None
        mine, theirs = pair.asked(
            lambda tx: [task.id for task in tx.tasks.of_model("films")]
        )
        assert mine == theirs
        number += 1
        assert len(theirs) == number
        contributed(pair, newest(pair))

    assert (
        steps.step(store, pair.leader, coordinator, "films", now + 60).state
        == "released"
    )
    assert training_state.plan.rounds > 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"model": "Films!"}, r"task\.model"),
        ({"min_batch_size": 3}, r"task\.min_batch_size"),
        ({"items": 10**9}, "length"),
        ({"round_seconds": 10**18}, r"task\.expires"),
    ],
)
def test_a_training_whose_rounds_nobody_would_sign_never_begins(
    pair, now, wrong, field
) -> None:
    asked = training(**wrong)
    with pytest.raises((InvalidInput, TaskRejected), match=field):
        steps.start(pair.leader_store, pair.leader, asked, now)

    with pytest.raises(InvalidInput, match="is not in training"):
        load_state(pair.leader_store, asked.model)


def test_a_training_can_be_corrected_until_a_round_is_open_and_not_after(
    pair, now: int
) -> None:
    store = pair.leader_store
    for users in (5_000, 10_000):
        steps.start(store, pair.leader, training(users=users), now)
    steps.step(store, pair.leader, pair, "films", now)

    with pytest.raises(InvalidInput, match="in training already"):
        steps.start(store, pair.leader, training(), now)
    assert load_state(store, "films").training.users == 10_000


def test_a_round_that_ended_with_too_few_is_not_the_end_of_its_model(
    pair, now: int
) -> None:
    store, over = pair.leader_store, now + 7 * 86_400
    steps.start(store, pair.leader, training(epsilon=0.01), now)
    steps.step(store, pair.leader, pair, "films", now)
    with pytest.raises(BatchTooSmall, match="wait for more"):
        steps.step(store, pair.leader, pair, "films", over - 1)
    with pytest.raises(BatchTooSmall, match="start the training again"):
        steps.step(store, pair.leader, pair, "films", over)

    steps.start(store, pair.leader, training(epsilon=0.01), over)
    steps.step(store, pair.leader, pair, "films", over)
    pair.now = over
    task = newest(pair)
    rows = np.full((4, task.encoding.padded), 7)
    assert pair.receive(task, *(pair.report(task, row, over) for row in rows)) == []

    assert steps.step(store, pair.leader, pair, "films", over).state == "released"


def test_a_round_that_ended_with_enough_is_collected_not_begun_again(
    pair, now: int
) -> None:
    store, over = pair.leader_store, now + 7 * 86_400
    steps.start(store, pair.leader, training(epsilon=0.01), now)
    steps.step(store, pair.leader, pair, "films", now)
    contributed(pair, newest(pair))

    with pytest.raises(InvalidInput, match="in training already"):
        steps.start(store, pair.leader, training(), over)
    assert steps.step(store, pair.leader, pair, "films", over).state == "released"


def test_two_alike_trainings_at_one_moment_have_two_tasks(pair, now: int) -> None:
    store = pair.leader_store
    for number in range(2):
        steps.start(store, pair.leader, training(epsilon=0.01), now)
        steps.step(store, pair.leader, pair, "films", now)
        contributed(pair, newest(pair))
        training_state = steps.step(store, pair.leader, pair, "films", now)
        assert training_state.state == "released", number

    with store.transaction() as tx:
        assert [
            tx.batches.released_share(task.id, 0, 1).count
            for task in tx.tasks.of_model("films")
        ] == [
            4,
            4,
        ]


def test_a_period_that_ended_with_too_few_is_left_out_and_not_the_end(
    pair, now: int
) -> None:
    trial = TRIAL
    opening = Opening(experiment=trial, epsilon=1000.0, delta=1e-6, min_batch_size=4)
    both = (pair.leader_store, pair.leader, pair)
    experiments.open_period(*both, opening, now)
    with pytest.raises(InvalidInput, match="has an open period; collect it first"):
        experiments.open_period(*both, opening, now)
    with pytest.raises(BatchTooSmall):
        experiments.read_results(*both, trial.id, now)
    pair.now = over = now + 7 * 86_400

    task = experiments.open_period(*both, opening, over)
    rows = np.full((4, task.encoding.padded), 7)
    assert pair.receive(task, *(pair.report(task, row, over) for row in rows)) == []

    for _ in range(2):
        with pytest.raises(
            InvalidInput, match="people"
        ):  # nobody of them was in an arm
            experiments.read_results(*both, trial.id, over)
    with pair.leader_store.transaction() as tx:
        assert [one.people for one in tx.periods.of_model(task.model)] == [4]


def at_once(*calls: Callable[[], object]) -> list[object]:
    """The answers of calls that run at the same time."""
    with ThreadPoolExecutor(len(calls)) as callers:
        return [answer.result() for answer in [callers.submit(call) for call in calls]]


class Slow(Losing):
    """The pair, whose helper takes its time to sign."""

    def __init__(self, pair) -> None:
        super().__init__(pair, 0)

    def sign_task(self, task: Task, signature: bytes) -> bytes:
        time.sleep(0.2)
        return super().sign_task(task, signature)


def test_the_same_step_requested_at_once_is_taken_once_with_one_answer(
    pair, now: int
) -> None:
    store, coordinator = pair.leader_store, Slow(pair)
    steps.start(store, pair.leader, training(), now)

    answers = at_once(
        *[lambda: steps.step(store, pair.leader, coordinator, "films", now)] * 4
    )

    assert answers == [load_state(store, "films")] * 4
    for published in pair.asked(lambda tx: len(tx.tasks.of_model("films"))):
        assert published == 1
    contributed(pair, newest(pair))
    answers = at_once(
        *[lambda: steps.step(store, pair.leader, coordinator, "films", now)] * 4
    )
    assert {answer.step for answer in answers} == {3}
    with store.transaction() as tx:
        assert [task.round for task in tx.tasks.of_model("films")] == [0, 1]


def test_a_step_that_is_named_is_taken_once_however_often_it_is_requested(
    pair, now: int
) -> None:
    store = pair.leader_store
    steps.start(store, pair.leader, training(), now)
    first = steps.step(store, pair.leader, pair, "films", now, 0)
    contributed(pair, newest(pair))

    assert steps.step(store, pair.leader, pair, "films", now, 0) == first
    assert steps.step(store, pair.leader, pair, "films", now, first.step).step == 3


def test_a_step_whose_lease_was_taken_over_writes_nothing(pair, now: int) -> None:
    store = pair.leader_store
    steps.start(store, pair.leader, training(), now)

    class Frozen(Losing):
        """Its helper answers after the lease expired and another process holds the lock."""

        def sign_task(self, task: Task, signature: bytes) -> bytes:
            with store.transaction() as tx:
                late = int(time.time()) + step_lock.LEASE_SECONDS + 1
                assert tx.locks.acquire("step films", b"other", late, late + 1)
            return super().sign_task(task, signature)

    with pytest.raises(LockLost):
        steps.step(store, pair.leader, Frozen(pair, 0), "films", now)

    with store.transaction() as tx:
        assert tx.tasks.of_model("films") == []
        assert tx.published.entries() == []
        tx.locks.release_all()
    assert steps.step(store, pair.leader, pair, "films", now).state == "open"
    mine, theirs = pair.asked(
        lambda tx: [task.id for task in tx.tasks.of_model("films")]
    )
    assert mine == theirs


def test_a_step_that_takes_too_long_is_named_to_who_waits(
    pair, now: int, monkeypatch
) -> None:
    store = pair.leader_store
    steps.start(store, pair.leader, training(), now)
    monkeypatch.setattr(step_lock, "WAIT_SECONDS", 0.0)

    with (
        step_lock.exclusive(store, "films"),
        pytest.raises(Problem, match="a step of 'films' is running"),
    ):
        steps.step(store, pair.leader, pair, "films", now)


def test_an_abandoned_training_can_be_begun_again_and_refunds_nothing(
    pair, now: int
) -> None:
    store = pair.leader_store
    steps.start(store, pair.leader, training(), now)
    steps.step(store, pair.leader, pair, "films", now)
    contributed(pair, newest(pair))
    steps.step(store, pair.leader, pair, "films", now)
    late, before = newest(pair), published(store)

    assert steps.abandon(store, "films").state == "abandoned"

    with pytest.raises(
        InvalidInput, match="'films' is abandoned; start a new training"
    ):
        steps.step(store, pair.leader, pair, "films", now)
    with store.transaction() as tx:
        assert tx.tasks.newest_open("films") is None
    rows = np.full((4, late.encoding.padded), 7)
    assert len(pair.receive(late, *pair.reports(late, rows))) == 4
    assert (
        published(store) == before
    )  # its tasks stay: whoever was charged can see for what

    steps.start(store, pair.leader, training(epsilon=0.01), now)
    steps.step(store, pair.leader, pair, "films", now)
    contributed(pair, newest(pair))
    assert steps.step(store, pair.leader, pair, "films", now).state == "released"
    with pytest.raises(InvalidInput, match="is released"):
        steps.abandon(store, "films")
    assert published(store)[: len(before)] == before


def published(store: Datastore) -> list[str]:
    with store.transaction() as tx:
        return tx.published.entries()


def test_two_openings_of_a_period_at_once_are_one(pair, now: int) -> None:
    opening = Opening(experiment=TRIAL, epsilon=1000.0, delta=1e-6, min_batch_size=4)
    both = (pair.leader_store, pair.leader, Slow(pair))

    tasks = at_once(*[lambda: experiments.open_period(*both, opening, now)] * 3)

    assert len({task.id for task in tasks}) == 1
    with pair.leader_store.transaction() as tx:
        assert [task.id for task in tx.tasks.of_model(tasks[0].model)] == [tasks[0].id]


def test_two_readings_of_a_period_at_once_collect_it_once(pair, now: int) -> None:
    opening = Opening(experiment=TRIAL, epsilon=1000.0, delta=1e-6, min_batch_size=4)
    both = (pair.leader_store, pair.leader, pair)
    task = experiments.open_period(*both, opening, now)
    contributed(pair, task)

    def read() -> str:
        with pytest.raises(
            InvalidInput, match="people"
        ) as refused:  # nobody was in an arm
            experiments.read_results(*both, TRIAL.id, now)
        return str(refused.value)

    assert len(set(at_once(read, read, read))) == 1
    with pair.leader_store.transaction() as tx:
        assert [one.people for one in tx.periods.of_model(task.model)] == [4]
        kinds = [json.loads(line)["kind"] for line in tx.published.entries()]
    assert kinds == ["task", "result"]
