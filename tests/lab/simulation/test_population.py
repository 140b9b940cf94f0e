"""Simulated people compute what devices compute, and trainings keep their claim."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.errors import InvalidInput
from tactful.learning.client.contribution import contribution
from tactful.privacy.accountant import epsilon_for
from tactful.protocol.dap.messages import HpkeConfig
from tactful.protocol.dap.report_upload import make_report
from tactful.protocol.documents.task import Task
from tactful.protocol.vector_encoding import Encoding
from tactful_aggregator.learning.subspace import first_guide
from tactful_aggregator.learning.training_plan import Plan
from tactful_lab.baselines.simple import popularity, scorer
from tactful_lab.data_sets.loading import Dataset, load, split
from tactful_lab.ranking_metrics import TEST_SEED, evaluate, hold_out
from tactful_lab.simulation import population
from tactful_lab.simulation.population import Population

PLAN = Plan(items=277, head=128, rank=8, shares=(0.1, 0.3, 0.6))


@pytest.fixture(scope="module")
def visits() -> Dataset:
    return load("msweb")


@pytest.fixture(scope="module")
def crowd(visits: Dataset) -> Population:
    return Population(visits, split(visits).train[:300])


@pytest.mark.parametrize("kind", ["popularity", "subspace"])
def test_a_simulated_measurement_equals_that_of_a_device(
    crowd: Population, visits: Dataset, kind: str
) -> None:
    counts = popularity(visits, crowd.users).counts
    guide = first_guide(counts, 1.0, PLAN, b"public")
    encoding = Encoding(277 if kind == "popularity" else 1024, 14, 3, b"task id")
    coins = np.random.default_rng(3)
    simulated = np.concatenate(
        list(crowd.measurements(kind, encoding, guide, np.random.default_rng(3).bytes))
    )

    for row, user in zip(simulated, crowd.users, strict=True):
        vector = contribution(kind, np.sort(visits.history(int(user))), 277, guide)
        assert np.array_equal(encoding.encode(vector[None, :], coins.bytes)[0], row)


def test_measurements_do_not_depend_on_the_chunk_size(
    crowd: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding = Encoding(277, 14, 3, b"task id")
    expected = np.concatenate(
        list(
            crowd.measurements(
                "popularity", encoding, None, np.random.default_rng(0).bytes
            )
        )
    )

    monkeypatch.setattr(population, "CHUNK", 7)

    measurements = crowd.measurements(
        "popularity", encoding, None, np.random.default_rng(0).bytes
    )
    assert np.array_equal(np.concatenate(list(measurements)), expected)


def test_the_decoded_sum_equals_the_sum_of_vectors_up_to_rounding(
    crowd: Population, visits: Dataset
) -> None:
    encoding = Encoding(277, 14, 3, b"task id")

    total = crowd.total("popularity", encoding, None, np.random.default_rng(0).bytes)

    exact = sum(
        contribution("popularity", h, 277, None) for h in visits.histories(crowd.users)
    )
    error = encoding.decode(total, len(crowd)) - exact
    assert np.abs(error).max() < 6 * 0.5 / encoding.levels_per_unit * math.sqrt(
        len(crowd)
    )


@pytest.mark.parametrize("noise", ["once", "pair"])
def test_a_training_claims_the_requested_epsilon_for_one_honest_aggregator(
    crowd: Population, noise: population.Noise
) -> None:
    training = crowd.train(
        2.0, 1e-6, noise=noise, generator=np.random.default_rng(0), plan=PLAN
    )

    assert 1.999 < training.claim.epsilon <= 2.0
    assert training.claim.rho == sum(
        simulated_round.release.rho for simulated_round in training.rounds
    )
    assert training.claim.epsilon == pytest.approx(
        epsilon_for(math.sqrt(2 * training.claim.rho), 1e-6)
    )
    assert [simulated_round.kind for simulated_round in training.rounds] == [
        "popularity",
        "subspace",
        "subspace",
    ]


def test_the_noise_of_both_aggregators_has_twice_the_variance(
    crowd: Population,
) -> None:
    once, pair = (
        crowd.train(
            2.0, 1e-6, noise=noise, generator=np.random.default_rng(0), plan=PLAN
        )
        for noise in population.FACTORS
    )

    for a, b in zip(once.rounds, pair.rounds, strict=True):
        assert b.tau == pytest.approx(math.sqrt(2) * a.tau)
        assert a.release == b.release


@pytest.mark.parametrize("noise", ["once", "pair"])
def test_the_noise_in_a_sum_has_the_stated_standard_deviation(
    crowd: Population, noise: population.Noise
) -> None:
    """Chi-square on 512 coordinates; |z| < 5: false alarm once in 10^6; seed fixed."""
    training = crowd.dp_popularity(
        1.0, 1e-6, noise=noise, generator=np.random.default_rng(1)
    )
    simulated_round = training.rounds[0]

    noisy = crowd.noisy_sum(simulated_round, None, noise, np.random.default_rng(2))
    total = crowd.total(
        "popularity", simulated_round.encoding, None, np.random.default_rng(2).bytes
    )

    error = noisy - simulated_round.encoding.decode(total, len(crowd))
    chi2 = float(np.square(error / simulated_round.tau).sum())
    assert abs(chi2 - 277) / math.sqrt(2 * 277) < 5


def test_the_stated_upload_is_the_size_of_a_report(crowd: Population) -> None:
    simulated_round = crowd.dp_popularity(
        1.0, 1e-6, noise="once", generator=np.random.default_rng(1)
    ).rounds[0]
    sigma2 = simulated_round.release.sigma2
    task = Task(
        version="tactful-1",
        model="shop",
        round=0,
        rounds=1,
        kind="popularity",
        catalog="0" * 64,
        items=277,
        length=277,
        levels=simulated_round.encoding.levels,
        box=simulated_round.encoding.box,
        family="rounded_gaussian",
        sigma2=f"{sigma2.numerator}/{sigma2.denominator}",
        adjacency="zero_out",
        unit="device",
        epsilon=1.0,
        delta=1e-6,
        min_batch_size=1,
        leader="https://leader.example",
        helper="https://helper.example",
        opens=0,
        expires=1,
        guide=None,
        nonce="0" * 32,
    )
    key = HpkeConfig(1, X25519PrivateKey.generate().public_key().public_bytes_raw())

    report = make_report(
        task.dap, np.zeros(512, dtype=int), leader=key, helper=key, now=0
    )

    assert len(report.encode(task.dap.dap)) == simulated_round.upload_bytes
    assert task.release == simulated_round.release


def test_below_the_release_gate_only_popularity_is_released(crowd: Population) -> None:
    crowd = Population(crowd.dataset.without_words(), crowd.users)
    training = crowd.train(0.1, 1e-6, noise="pair", generator=np.random.default_rng(0))

    assert training.plan.rounds == 1
    assert training.model.kind == "popularity"


def test_useless_item_features_lead_to_a_popularity_model(visits: Dataset) -> None:
    """Titles are permuted, so that similar items are not bought together."""
    people, turned = (
        split(visits),
        tuple(np.random.default_rng(3).permutation(visits.titles)),
    )
    crowd = Population(replace(visits, titles=turned), people.train[:1_000])

    kinds = [
        crowd.train(
            0.5, 1e-6, noise="pair", generator=np.random.default_rng(seed)
        ).model.kind
        for seed in range(4)
    ]

    assert kinds == ["popularity"] * 4


def test_item_features_make_a_model_useful_with_300_people() -> None:
    shop = load("online-retail")
    people = split(shop)
    test, crowd = (
        hold_out(shop, people.test, TEST_SEED),
        Population(shop, people.train[:300]),
    )

    training = crowd.train(1.0, 1e-6, noise="pair", generator=np.random.default_rng(0))

    assert training.plan.kinds == ("popularity", "popularity", "gram", "trial")
    assert (
        sum(simulated_round.encoding.length for simulated_round in training.rounds)
        < 3_000
    )
    popularity_training = crowd.dp_popularity(
        1.0, 1e-6, noise="pair", generator=np.random.default_rng(0)
    )
    ours, popular = (
        evaluate(scorer(result.model), test).ndcg_at_100
        for result in (training, popularity_training)
    )
    assert ours > popular + 0.1


def test_a_released_model_ranks_better_than_popularity(visits: Dataset) -> None:
    people = split(visits)
    test = hold_out(visits, people.test, TEST_SEED)

    training = Population(visits, people.train).train(
        1.0, 1e-6, noise="pair", generator=np.random.default_rng(0)
    )

    learned = evaluate(scorer(training.model), test).ndcg_at_100
    assert learned > evaluate(popularity(visits, people.train), test).ndcg_at_100 + 0.02


def test_a_training_is_determined_by_its_seed(
    crowd: Population,
) -> None:
    first, same, other = (
        crowd.train(
            2.0, 1e-6, noise="once", generator=np.random.default_rng(s), plan=PLAN
        ).model
        for s in (0, 0, 1)
    )

    assert np.array_equal(first.popularity, same.popularity)
    assert not np.array_equal(first.popularity, other.popularity)


@pytest.mark.parametrize(
    ("epsilon", "delta", "field"),
    [
        (0.0, 1e-6, "epsilon"),
        (math.nan, 1e-6, "epsilon"),
        (1.0, 0.0, "delta"),
        (1.0, 1.0, "delta"),
    ],
)
def test_an_impossible_epsilon_or_delta_is_named(
    crowd: Population, epsilon: float, delta: float, field: str
) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}: "):
        crowd.train(epsilon, delta, noise="once", generator=np.random.default_rng(0))


def test_ml_1m_at_epsilon_1_reaches_the_published_ndcg(shared: Path) -> None:
    """docs/spec/learning.md 9.1: .2847, sd .005 over seeds; one seed, 3 sd."""
    films = load("ml-1m-diffrec", shared / "datasets")
    people = split(films)

    training = Population(films, people.train).train(
        1.0, 1e-6, noise="once", generator=np.random.default_rng(0)
    )

    test = hold_out(films, people.test, TEST_SEED)
    assert evaluate(scorer(training.model), test).ndcg_at_100 > 0.2847 - 0.015
    assert evaluate(popularity(films, people.train), test).ndcg_at_100 == pytest.approx(
        0.22, abs=0.005
    )
