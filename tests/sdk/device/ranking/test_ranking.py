"""Lists follow the knobs: balance, diversity, and what may not be shown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.device.catalog import Catalog, Item
from tactful.device.ranking.balance import effective_balance, mix, normalised_rank
from tactful.device.ranking.diversity import VARIETIES, diversify
from tactful.device.ranking.metrics import intra_list_diversity
from tactful.device.ranking.pipeline import Context, Ranking, rank
from tactful.device.ranking.reasons import ReasonCode, rank_of
from tactful.device.ranking.scoring import Shelf
from tactful.learning.model import Model

ITEMS, CATEGORIES, RANK = 60, 6, 4
SHELF = Shelf(
    Catalog(
        Item(id=f"i{n:02}", title=f"Item {n}", category=f"c{n % CATEGORIES}") for n in range(ITEMS)
    )
)


def made_model(seed: int = 7) -> Model:
    """A small model of random taste, popularity falling with the number."""
    draws = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(draws.standard_normal((ITEMS, RANK)))
    popularity = np.linspace(1, 0.05, ITEMS).astype(np.float32)
    return Model(
        popularity=popularity,
        weights=np.ones(ITEMS, dtype=np.float32),
        head=np.arange(ITEMS, dtype=np.int32),
        basis=basis.astype(np.float32),
        scale=np.ones(RANK, dtype=np.float32),
        popularity_share=0.2,
        beta=0.7,
    )


MODEL = made_model()
numbers = st.integers(0, ITEMS - 1)
histories = st.dictionaries(numbers, st.floats(0.1, 9), max_size=8)
balances = st.floats(0, 1)


def context(likes: dict[int, float], balance: float, diversity: float = 0.3) -> Context:
    return Context(SHELF, MODEL, likes, balance, diversity)


def discordant(one: np.ndarray, other: np.ndarray) -> int:
    """Pairs of items that the two scores order differently (Kendall)."""
    first = np.sign(one[:, None] - one[None, :])
    second = np.sign(other[:, None] - other[None, :])
    return int((first * second < 0).sum()) // 2


@given(likes=histories, others=histories)
def test_at_balance_zero_everyone_gets_the_same_list(
    likes: dict[int, float], others: dict[int, float]
) -> None:
    mine, theirs = (rank(context(one, 0), length=10).order for one in (likes, others))

    assert mine.tolist() == theirs.tolist()


@given(likes=histories, low=balances, high=balances)
def test_the_distance_from_the_standard_order_never_shrinks_as_balance_grows(
    likes: dict[int, float], low: float, high: float
) -> None:
    low, high = sorted((low, high))
    standard = normalised_rank(MODEL.standard(), SHELF.tie_rank)
    personal = MODEL.personal(np.array(list(likes), dtype=np.int64))

    near, far = (mix(MODEL.standard(), personal, b, SHELF.tie_rank) for b in (low, high))

    assert discordant(standard, near) <= discordant(standard, far)


@given(likes=histories, balance=balances, excluded=st.sets(numbers, max_size=30))
def test_a_list_holds_every_item_once_but_the_excluded(
    likes: dict[int, float], balance: float, excluded: set[int]
) -> None:
    order = rank(context(likes, balance), length=10, excluded=excluded).order

    assert sorted(order.tolist()) == sorted(set(range(ITEMS)) - excluded)


@given(excluded=st.sets(numbers, max_size=30))
def test_at_balance_zero_exclusions_only_mask_the_standard_order(excluded: set[int]) -> None:
    everyone = rank(context({}, 0), length=10).order
    mine = rank(context({3: 1.0}, 0), length=10, excluded=excluded).order

    assert mine.tolist() == [n for n in everyone.tolist() if n not in excluded]


@pytest.mark.parametrize("objective", VARIETIES)
def test_each_objective_keeps_the_order_at_zero_and_adds_variety_above(objective: str) -> None:
    scores = np.where(SHELF.category == 0, 1.0, 0.9) - np.arange(ITEMS) / 1000
    best_first = np.argsort(-scores, kind="stable")

    plain, varied = (
        diversify(
            SHELF,
            best_first,
            scores[best_first],
            depth=10,
            diversity=strength,
            objective=objective,
        )
        for strength in (0.0, 0.6)
    )

    assert plain.tolist() == best_first.tolist()
    assert sorted(varied.tolist()) == sorted(best_first.tolist())
    one, other = (intra_list_diversity(order[:10], SHELF.similarity) for order in (plain, varied))
    assert other > one


def test_the_most_restrictive_voice_sets_the_balance() -> None:
    voices = {"app": 0.6, "person": 1.0, "allowed": True, "liked": 1000, "staleness": 1.0}

    assert effective_balance(**voices) == 0.6
    assert effective_balance(**{**voices, "person": 0.2}) == 0.2
    assert effective_balance(**{**voices, "allowed": False}) == 0
    assert effective_balance(**{**voices, "liked": 0}) == 0
    assert effective_balance(**{**voices, "staleness": 0.1}) == 0.1


@given(likes=histories, balance=balances, number=numbers)
def test_a_cited_reason_is_true_without_it_the_item_falls(
    likes: dict[int, float], balance: float, number: int
) -> None:
    ranking = rank(context(likes, balance), length=10)

    for reason in ranking.reasons(number):
        if reason.code is ReasonCode.BECAUSE_YOU_LIKED:
            cited = SHELF.catalog.number(str(reason.item_id))
            rest = {item: strength for item, strength in likes.items() if item != cited}
            without = rank(context(rest, balance), length=10)
            assert rank_of(number, without.scores) > rank_of(number, ranking.scores)


def test_every_item_has_a_reason_even_when_nothing_is_known() -> None:
    ranking: Ranking = rank(Context(SHELF, None, {}, 0.0, 0.3), length=10)

    assert str(ranking.reasons(0)[0]) == "from the catalog; nothing is known about you"


def test_without_a_model_likes_lift_their_category() -> None:
    ranking = rank(Context(SHELF, None, {4: 2.0, 10: 1.0}, 1.0, 0.0), length=10)

    assert {int(SHELF.category[n]) for n in ranking.order[:5]} == {4}
