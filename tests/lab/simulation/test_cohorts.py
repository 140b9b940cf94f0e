"""Sums over many simulated people equal the sums of their contributions."""

import math
import tracemalloc
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.learning.round_parameters import Guide
from tactful.protocol.vector_encoding import Encoding
from tactful_aggregator.learning.subspace import first_guide
from tactful_aggregator.learning.training_plan import Plan, popularity_plan
from tactful_lab.baselines.simple import popularity, scorer
from tactful_lab.data_sets.loading import Dataset, load, split
from tactful_lab.ranking_metrics import TEST_SEED, evaluate, hold_out
from tactful_lab.simulation.cohorts import (
    Cohort,
    RoundingError,
    float_sum,
    one_by_one,
    rounding_error,
)
from tactful_lab.simulation.population import Fidelity, Population, planned_round
from tactful_lab.simulation.workers import workers

PLAN = Plan(items=277, head=64, rank=8, shares=(0.1, 0.3, 0.6))
KINDS = ("popularity", "subspace")


@pytest.fixture(scope="module")
def visits() -> Dataset:
    return load("msweb")


@pytest.fixture(scope="module")
def crowd(visits: Dataset) -> Population:
    return Population(visits, split(visits).train[:300])


@pytest.fixture(scope="module")
def guide(crowd: Population) -> Guide:
    return first_guide(
        popularity(crowd.dataset, crowd.users).counts, 1.0, PLAN, b"public"
    )


def _encoding(kind: str) -> Encoding:
    return Encoding(277 if kind == "popularity" else 512, 14, 3, b"task id")


histories = st.lists(
    st.lists(st.integers(0, 276), unique=True, max_size=30), max_size=12
)


@given(people=histories)
def test_a_float_sum_equals_the_sum_of_all_contributions(
    guide: Guide, people: list[list[int]]
) -> None:
    bounds = np.cumsum([0, *(len(history) for history in people)])
    items = np.array([item for history in people for item in history], dtype=np.int64)
    cohort = Cohort(items, bounds, 277)

    for kind in KINDS if people else ():
        expected = one_by_one(kind)(cohort, guide)
        assert np.allclose(float_sum(kind, cohort, guide), expected, atol=1e-6)


def test_a_sketched_gram_sum_is_near_the_sum_of_all_contributions(
    crowd: Population, guide: Guide
) -> None:
    cohort = Cohort.of(crowd.dataset, crowd.users)
    pairs = replace(guide, basis=guide.basis[:, :0])

    for buckets, tolerance in ((0, 1e-9), (1024, 0.02)):
        sketched = replace(pairs, buckets=buckets)
        expected = one_by_one("gram")(cohort, sketched)
        assert np.linalg.norm(
            float_sum("gram", cohort, sketched) - expected
        ) <= tolerance * np.linalg.norm(expected)


def test_a_cohort_contains_the_histories_of_its_people(visits: Dataset) -> None:
    users = np.array([7, 0, 7, visits.users - 1])

    cohort = Cohort.of(visits, users)

    parts = np.split(cohort.items, cohort.bounds[1:-1])
    for items, history in zip(parts, visits.histories(users), strict=True):
        assert np.array_equal(items, history)


@pytest.mark.parametrize("kind", KINDS)
def test_exact_and_float_sums_have_the_same_mean_and_variance(
    crowd: Population, guide: Guide, kind: str
) -> None:
    """60 tasks; 5 standard errors are a false alarm once in 10^6; seeds fixed."""
    coins, sums = np.random.default_rng(0).bytes, 60
    tasks = [replace(_encoding(kind), seed=bytes([task])) for task in range(sums)]
    exact = np.array(
        [
            task.decode(crowd.total(kind, task, guide, coins), len(crowd))
            for task in tasks
        ]
    )

    vectors = Cohort.of(crowd.dataset, crowd.users).vectors(kind, guide)
    errors = [rounding_error(task, vectors, coins) for task in tasks[:5]]

    error = RoundingError(*np.mean(errors, axis=0))
    spread = error.variance * len(crowd)
    size = exact.shape[1]
    assert exact.var(axis=0, ddof=1).mean() == pytest.approx(
        spread, rel=0.02 + 5 * math.sqrt(2 / (size * (sums - 1)))
    )
    difference = exact.mean(axis=0) - error.scale * crowd.float_total(
        kind, tasks[0], guide
    )
    chi2 = float(np.square(difference).sum() / (spread / sums))
    assert abs(chi2 - size) / math.sqrt(2 * size) < 5


@pytest.mark.parametrize("fidelity", ["exact", "float"])
def test_a_released_sum_contains_noise_and_rounding_error(
    crowd: Population, fidelity: Fidelity
) -> None:
    """5,540 entries: a variance off by 12 % is a false alarm once in 10^9; seeds fixed.

    With this much budget rounding is most of it, so leaving it out would show.
    """
    simulated_round = planned_round(
        popularity_plan(277), 0, 40.0, "pair", "rounded_gaussian", b"public"
    )
    error = rounding_error(
        simulated_round.encoding,
        Cohort.of(crowd.dataset, crowd.users).vectors("popularity", None),
        np.random.default_rng(0).bytes,
    )
    exact = error.scale * crowd.float_total(
        "popularity", simulated_round.encoding, None
    )

    differences = [
        crowd.noisy_sum(
            simulated_round, None, "pair", np.random.default_rng(seed), fidelity
        )
        - exact
        for seed in range(20)
    ]

    rounded = len(crowd) * error.variance
    assert rounded > 5 * simulated_round.tau**2
    assert np.var(differences) == pytest.approx(
        simulated_round.tau**2 + rounded, rel=0.12
    )


def test_models_from_exact_and_float_sums_rank_equally_well(visits: Dataset) -> None:
    """The sd over seeds is .01: means of 3 differ by .03 once in 10^4; seeds fixed."""
    people = split(visits)
    test = hold_out(visits, people.test, TEST_SEED)
    train = partial(
        Population(visits, people.train).train, 1.0, 1e-6, noise="once", plan=PLAN
    )

    def ndcg(fidelity: Fidelity) -> float:
        models = [
            train(generator=np.random.default_rng(seed), fidelity=fidelity).model
            for seed in range(3)
        ]
        return float(
            np.mean([evaluate(scorer(model), test).ndcg_at_100 for model in models])
        )

    assert ndcg("float") == pytest.approx(ndcg("exact"), abs=0.03)


@pytest.mark.parametrize(("kind", "count"), [("threads", 3), ("processes", 2)])
def test_sums_do_not_depend_on_the_number_of_workers(
    crowd: Population, guide: Guide, kind: str, count: int
) -> None:
    alone = _sums(crowd, guide, None)
    with workers(kind, count) as executor:
        together = _sums(crowd, guide, executor)

    assert executor is not None
    assert np.array_equal(alone[0], together[0])
    assert np.array_equal(alone[1], together[1])


@pytest.mark.parametrize(("kind", "module"), [("ray", "ray"), ("dask", "distributed")])
@pytest.mark.filterwarnings("ignore")
def test_sums_on_a_cluster_equal_local_sums(
    crowd: Population, guide: Guide, kind: str, module: str
) -> None:
    if find_spec(module) is None:
        pytest.skip(f"the extra {kind} is not installed (make test-clusters)")
    alone = _sums(crowd, guide, None)
    with workers(kind, 2) as executor:
        together = _sums(crowd, guide, executor)

    assert np.array_equal(alone[0], together[0])
    assert np.array_equal(alone[1], together[1])


def _sums(
    crowd: Population, guide: Guide, executor: Executor | None
) -> tuple[np.ndarray, np.ndarray]:
    coins, encoding = np.random.default_rng(5).bytes, _encoding("subspace")
    return (
        crowd.total("subspace", encoding, guide, coins, executor),
        crowd.float_total("subspace", encoding, guide, executor),
    )


def test_memory_grows_only_by_the_user_numbers_of_a_population(
    visits: Dataset,
) -> None:
    """8 bytes per device, and the vectors of one chunk of people."""

    def peak(devices: int) -> int:
        crowd = Population(visits, np.resize(np.arange(visits.users), devices))
        tracemalloc.start()
        crowd.float_total("popularity", _encoding("popularity"), None)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(60_000) < peak(3_000) * 1.2 + 100_000
