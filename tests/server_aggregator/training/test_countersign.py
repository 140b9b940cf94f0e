"""Neither half signs a task that is not safe or a release that is not true."""

from dataclasses import replace

import numpy as np
import pytest

from tactful.errors import ModelRejected, TactfulError, TaskRejected
from tactful.privacy.accountant import claim, mu_for, sigma2_for
from tactful.protocol.documents.model_release import SIGNED_AS as RELEASE_SIGNED_AS
from tactful.protocol.documents.model_release import ModelRelease
from tactful.protocol.documents.task import SIGNED_AS as TASK_SIGNED_AS
from tactful.protocol.documents.task import Task
from tactful_aggregator.training import countersign


def noise(task: Task, share: float) -> str:
    """The noise with which one round spends `share` of what the task claims."""
    mu = mu_for(task.epsilon, task.delta)
    sigma2 = sigma2_for(task.encoding.norm_bound, mu, share)
    return f"{sigma2.numerator}/{sigma2.denominator}"


@pytest.fixture
def safe(pair) -> Task:
    """A round 0 that spends half of what its training claims."""
    task = pair.task(rounds=2, family="rounded_gaussian")
    return replace(task, sigma2=noise(task, 0.5))


@pytest.fixture
def following(safe: Task) -> Task:
    """The round after it, which spends the other half."""
    task = replace(safe, round=1, kind="subspace", length=16, guide="d" * 64)
    return replace(task, sigma2=noise(task, 0.5))


def sign(pair, task: Task) -> bytes:
    """The helper's answer to a task that its leader signs."""
    signature = pair.leader.keys.signer.sign(TASK_SIGNED_AS + task.document)
    return pair.sign_task(task, signature)


def test_a_safe_task_is_signed_and_kept(pair, safe: Task) -> None:
    signature = sign(pair, safe)

    assert signature == pair.helper.keys.signer.sign(TASK_SIGNED_AS + safe.document)
    with pair.helper_store.transaction() as tx:
        assert tx.tasks.of_model(safe.model) == [safe]


def test_the_same_task_again_has_the_same_signature(
    pair, safe: Task, following: Task
) -> None:
    first = sign(pair, safe)
    assert sign(pair, safe) == first

    second = sign(pair, following)
    assert sign(pair, following) == second


def test_one_discrete_round_prices_the_whole_training_by_rho(
    pair, safe: Task, following: Task
) -> None:
    """Both rounds fill the Gaussian's curve, which is not proved for the sum of these two."""
    mixed = replace(safe, family="discrete_gaussian", sigma2=noise(safe, 0.5))
    sign(pair, mixed)

    with pytest.raises(TaskRejected, match=r"task\.sigma2: .*too little noise"):
        sign(pair, following)


CRIMES = {
    "a batch below the floor": ("min_batch_size", {"min_batch_size": 3}),
    "too little noise": ("sigma2", {"sigma2": "1/1"}),
    "a smaller epsilon than its noise": ("sigma2", {"epsilon": 1.0}),
    "a smaller delta than its noise": ("sigma2", {"delta": 1e-30}),
    "twice the distance for the same noise": ("sigma2", {"adjacency": "replace_one"}),
    "another leader": ("leader", {"leader": "http://other.example"}),
    "another helper": ("leader", {"helper": "http://other.example"}),
    "a round out of order": ("round", {"round": 1}),
}


@pytest.mark.parametrize(("field", "changes"), CRIMES.values(), ids=CRIMES)
def test_an_unsafe_task_is_refused_by_the_name_of_its_field(
    pair, safe: Task, field: str, changes: dict[str, object]
) -> None:
    task = replace(safe, **changes)

    for aggregator in pair.aggregators:
        with pytest.raises(TaskRejected, match=rf"^task\.{field}"):
            countersign.check_task(task, [], aggregator)
    with pytest.raises(TaskRejected):
        sign(pair, task)
    with pair.helper_store.transaction() as tx:
        assert tx.tasks.of_model(task.model) == []


def test_the_addresses_swapped_are_another_pair(pair, safe: Task) -> None:
    with pytest.raises(TaskRejected, match="not this pair"):
        countersign.check_task(
            replace(safe, leader=safe.helper, helper=safe.leader), [], pair.helper
        )


def test_a_sum_that_could_wrap_is_refused(pair, safe: Task) -> None:
    with pytest.raises(TaskRejected, match="wrap around"):
        countersign.check_task(replace(safe, sigma2=f"{10**39}/1"), [], pair.helper)


def test_rounds_that_together_keep_the_claim_are_signed(
    pair, safe: Task, following: Task
) -> None:
    sign(pair, safe)
    sign(pair, following)

    with pair.helper_store.transaction() as tx:
        assert tx.tasks.of_model(safe.model) == [safe, following]


def test_rounds_that_together_break_the_claim_are_refused(
    pair, safe: Task, following: Task
) -> None:
    sign(pair, safe)
    greedy = replace(following, sigma2=noise(following, 0.6))
    countersign.check_noise(
        replace(greedy, round=0, kind="popularity", guide=None, items=16), []
    )

    with pytest.raises(TaskRejected, match=r"^task\.sigma2: .*too little noise"):
        sign(pair, greedy)


def test_a_round_skipped_is_refused(pair, safe: Task, following: Task) -> None:
    sign(pair, safe)

    with pytest.raises(TaskRejected, match=r"^task\.round: 2 does not follow 1"):
        sign(pair, replace(following, round=2, rounds=3))


def test_a_round_taken_twice_is_refused(pair, safe: Task, following: Task) -> None:
    sign(pair, safe)
    sign(pair, following)

    with pytest.raises(TaskRejected, match=r"^task\.round: 1 does not follow 2"):
        sign(pair, replace(following, expires=following.expires + 1))


def test_a_new_training_starts_with_a_new_budget(
    pair, safe: Task, following: Task
) -> None:
    sign(pair, safe)
    sign(pair, following)

    sign(pair, replace(safe, opens=safe.opens + 1))


def test_a_task_that_is_not_the_leaders_is_refused(pair, safe: Task) -> None:
    foreign = pair.helper.keys.signer.sign(TASK_SIGNED_AS + safe.document)

    with pytest.raises(TaskRejected, match=r"^task\.signatures\.leader: "):
        pair.sign_task(safe, foreign)
    with pair.helper_store.transaction() as tx:
        assert tx.tasks.of_model(safe.model) == []


# releases


@pytest.fixture
def true(pair) -> ModelRelease:
    """A release of one collected task, whose every claim the helper can confirm."""
    base = pair.task()
    task = pair.agreed(sigma2=noise(base, 1.0))
    pair.receive(task, *pair.reports(task, np.tile(np.arange(8), (5, 1))))
    pair.collect(task)
    promised = claim([task.release], task.delta)
    return ModelRelease(
        version=1,
        model=task.model,
        kind="popularity",
        catalog=task.catalog,
        items=task.items,
        tasks=(task.id.hex(),),
        batch_size=5,
        epsilon=promised.headline,
        delta=task.delta,
        rho=f"{promised.rho.numerator}/{promised.rho.denominator}",
        adjacency="zero_out",
        unit="device",
        created=task.opens,
        expires=task.expires,
        file="f" * 64,
        placement="aggregator",
    )


def signed_by_helper(pair, release: ModelRelease) -> bytes:
    """The helper's answer to a release that its leader signs."""
    signature = pair.leader.keys.signer.sign(RELEASE_SIGNED_AS + release.document)
    return pair.sign_release(release, signature)


def test_a_true_release_is_signed_and_kept(pair, true: ModelRelease) -> None:
    signature = signed_by_helper(pair, true)

    assert signature == pair.helper.keys.signer.sign(RELEASE_SIGNED_AS + true.document)
    with pair.helper_store.transaction() as tx:
        assert tx.published.newest_release(true.model)[0] == 1


def test_the_same_release_again_has_the_same_signature(
    pair, true: ModelRelease
) -> None:
    assert signed_by_helper(pair, true) == signed_by_helper(pair, true)


FALSE = {
    "a smaller rho": {"rho": "1/1000000"},
    "rho as another fraction": {"rho": "2/4"},
    "a smaller epsilon": {"epsilon": 1.0},
    "a larger batch": {"batch_size": 6},
    "a smaller batch": {"batch_size": 4},
    "a batch below the floor": {"batch_size": 3},
    "a smaller delta": {"delta": 1e-12},
    "no task": {"tasks": ()},
    "a task of nobody": {"tasks": ("0" * 64,)},
    "already over": {"expires": 0},
    "version zero": {"version": 0},
}


@pytest.mark.parametrize("changes", FALSE.values(), ids=FALSE)
def test_a_false_release_is_not_signed(
    pair, true: ModelRelease, changes: dict[str, object]
) -> None:
    with pytest.raises((TaskRejected, ModelRejected)):
        signed_by_helper(pair, replace(true, **changes))
    with pair.helper_store.transaction() as tx:
        assert tx.published.newest_release(true.model) is None


NOT_CONFIRMED = {
    "an epsilon that is no number": {"epsilon": float("nan")},
    "a stronger adjacency": {"adjacency": "replace_one"},
    "another model": {"model": "books"},
    "another catalog": {"catalog": "d" * 64},
    "other items": {"items": 9},
    "a task that is no id": {"tasks": ("nonsense",)},
}


@pytest.mark.parametrize("changes", NOT_CONFIRMED.values(), ids=NOT_CONFIRMED)
def test_a_release_at_odds_with_its_tasks_is_not_signed(
    pair, true: ModelRelease, changes: dict[str, object]
) -> None:
    with pytest.raises(TactfulError):
        signed_by_helper(pair, replace(true, **changes))


def test_a_release_that_leaves_out_a_round_is_not_signed(pair) -> None:
    base = pair.task(rounds=2)
    tasks = [pair.agreed(rounds=2, sigma2=noise(base, 0.5))]
    later = {"round": 1, "kind": "subspace", "guide": "d" * 64, "rounds": 2}
    tasks.append(pair.agreed(**later, sigma2=noise(base, 0.5)))
    for task in tasks:
        pair.receive(task, *pair.reports(task, np.tile(np.arange(8), (5, 1))))
        pair.collect(task)
    promised = claim([tasks[1].release], base.delta)
    cheap = ModelRelease(
        version=1,
        model=base.model,
        kind="personal",
        catalog=base.catalog,
        items=base.items,
        tasks=(tasks[1].id.hex(),),
        batch_size=5,
        epsilon=promised.headline,
        delta=base.delta,
        rho=f"{promised.rho.numerator}/{promised.rho.denominator}",
        adjacency="zero_out",
        unit="device",
        created=base.opens,
        expires=base.expires,
        file="f" * 64,
        placement="aggregator",
    )

    with pytest.raises(TactfulError):
        signed_by_helper(pair, cheap)


def test_a_release_before_its_batch_is_collected_is_not_signed(
    pair, true: ModelRelease
) -> None:
    task = pair.agreed(model="books", sigma2="100000/1")
    pair.receive(task, *pair.reports(task, np.tile(np.arange(8), (5, 1))))
    pair.drive(task)

    with pytest.raises(TaskRejected, match="the helper counted 0"):
        signed_by_helper(pair, replace(true, model="books", tasks=(task.id.hex(),)))


def test_a_version_once_signed_is_not_signed_for_anything_else(
    pair, true: ModelRelease
) -> None:
    signed_by_helper(pair, true)

    with pytest.raises(ModelRejected, match=r"^release\.version: "):
        signed_by_helper(pair, replace(true, file="e" * 64))
    signed_by_helper(pair, replace(true, version=2, file="e" * 64))
    with pytest.raises(ModelRejected, match=r"^release\.version: "):
        signed_by_helper(pair, true)


def test_a_release_that_is_not_the_leaders_is_refused(pair, true: ModelRelease) -> None:
    with pytest.raises(ModelRejected, match=r"^release\.signatures\.leader: "):
        pair.sign_release(true, bytes(64))
