"""Lists follow the knobs: balance, diversity, popularity, wear, and what may not be shown."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_world import (
    CATALOG,
    ITEMS,
    PLAIN,
    SHELF,
    STANDING,
    balances,
    context,
    field,
    histories,
    numbers,
)

from tactful.device.list_policy import ListPolicy
from tactful.device.ranking.explanations.reasons import SENTENCES, ReasonCode, Reasons
from tactful.device.ranking.list_metrics import intra_list_diversity
from tactful.device.ranking.pipeline import Ranking, rank
from tactful.device.ranking.scoring import adjustments
from tactful.device.ranking.scoring.balance import (
    by_evidence,
    mix,
    most_personal,
    normalised_rank,
)
from tactful.device.ranking.scoring.taste import Taste
from tactful.device.ranking.selection.diversity import VARIETIES, diversify
from tactful.device.ranking.values import descending_order, top_places

tastes = st.builds(
    Taste,
    likes=histories,
    leanings=st.dictionaries(
        st.tuples(st.sampled_from(["category", "brand"]), st.integers(0, 5)),
        st.floats(-4, 2),
    ),
    wear=st.dictionaries(numbers, st.floats(0, 6), max_size=8),
    times=st.dictionaries(numbers, st.integers(1, 5), max_size=8),
    withheld=st.frozensets(numbers, max_size=9),
    due=st.lists(numbers, unique=True, max_size=3).map(tuple),
)


def discordant(one: np.ndarray, other: np.ndarray) -> int:
    """Pairs of items that the two scores order differently (Kendall)."""
    first = np.sign(one[:, None] - one[None, :])
    second = np.sign(other[:, None] - other[None, :])
    return int((first * second < 0).sum()) // 2


some_scores = st.one_of(
    st.lists(st.sampled_from([0.0, -0.0, 0.5, 1.0, -np.inf]), min_size=1, max_size=120),
    st.integers(1, 600).flatmap(
        lambda many: st.randoms(use_true_random=False).map(
            lambda coin: [coin.choice([coin.random(), 0.5]) for _ in range(many)]
        )
    ),
).map(np.array)


@given(scores=some_scores)
def test_of_equal_scores_the_earlier_stands_above(scores: np.ndarray) -> None:
    assert descending_order(scores).tolist() == sorted(
        range(len(scores)), key=lambda n: -scores[n]
    )


@given(scores=some_scores, count=st.integers(1, 130))
def test_the_best_are_those_of_the_whole_order(scores: np.ndarray, count: int) -> None:
    assert top_places(scores, count).tolist() == sorted(
        descending_order(scores)[:count].tolist()
    )


@given(taste=tastes, seed=st.binary(max_size=4), length=st.integers(0, 70))
def test_at_balance_zero_everyone_gets_the_same_list(
    taste: Taste, seed: bytes, length: int
) -> None:
    nobody = context({}, 0, list_policy=ListPolicy())
    someone = replace(
        nobody, taste=taste, seed=seed, hidden=frozenset({("category", "c1")})
    )

    mine, theirs = (list(rank(one, length=length).line()) for one in (nobody, someone))

    assert mine == theirs


@given(likes=histories, low=balances, high=balances)
def test_the_distance_from_the_standard_order_never_shrinks_as_balance_grows(
    likes: dict[int, float], low: float, high: float
) -> None:
    low, high = sorted((low, high))
    standard = normalised_rank(STANDING.scores)
    personal = normalised_rank(STANDING.personal(likes))

    near, far = (mix(standard, personal, balance) for balance in (low, high))

    assert discordant(standard, near) <= discordant(standard, far)


@given(taste=tastes, balance=st.floats(0.01, 1), length=st.integers(0, 70))
def test_a_line_holds_every_item_once_but_what_is_not_offered(
    taste: Taste, balance: float, length: int
) -> None:
    one = replace(
        context({}, balance, list_policy=ListPolicy()), taste=taste, seed=b"x"
    )
    ranking = rank(one, length=length)

    assert sorted(ranking.line()) == sorted(set(range(ITEMS)) - taste.withheld)
    assert len(ranking.placed_list.numbers) == min(length, ITEMS - len(taste.withheld))


@given(excluded=st.sets(numbers, max_size=30), balance=balances)
def test_what_the_app_cannot_offer_is_in_no_list(
    excluded: set[int], balance: float
) -> None:
    ids = frozenset(CATALOG.items[number].id for number in excluded)
    one = replace(context({3: 1.0}, balance), excluded=ids)

    assert excluded.isdisjoint(rank(one, length=10).line())


def test_what_the_person_hid_is_no_candidate() -> None:
    one = replace(context({3: 1.0}, 0.5), hidden=frozenset({("category", "c3")}))

    assert not any(
        CATALOG.items[n].category == "c3" for n in rank(one, length=10).line()
    )


@pytest.mark.parametrize("objective", VARIETIES)
def test_each_objective_keeps_the_order_at_zero_and_adds_variety_above(
    objective: str,
) -> None:
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
    one, other = (
        intra_list_diversity(order[:10], SHELF.similarity) for order in (plain, varied)
    )
    assert other > one


@pytest.mark.parametrize("objective", VARIETIES)
@given(scores=st.lists(st.floats(0, 1), min_size=12, max_size=12))
def test_every_objective_lies_on_one_scale(objective: str, scores: list[float]) -> None:
    pool, relevance = (
        np.arange(12),
        adjustments.rescale(np.sort(np.array(scores))[::-1]),
    )
    variety = VARIETIES[objective](SHELF, pool, relevance, SHELF.category_mix(pool))

    for last in [None, 0, 5, 7]:
        added = variety(last)
        assert ((added >= 0) & (added <= 1 + 1e-9)).all()


def test_the_most_restrictive_voice_sets_the_balance() -> None:
    voices = {
        "app": 0.6,
        "surface": 1.0,
        "person": 1.0,
        "allowed": True,
        "staleness": 1.0,
    }

    assert most_personal(**voices) == 0.6
    assert most_personal(**{**voices, "surface": 0.3}) == 0.3
    assert most_personal(**{**voices, "person": 0.2}) == 0.2
    assert most_personal(**{**voices, "allowed": False}) == 0
    assert most_personal(**{**voices, "staleness": 0.1}) == 0.1
    assert by_evidence(0) == 0
    assert by_evidence(2) < by_evidence(20) < 1


@given(likes=histories, balance=balances, length=st.integers(1, 20))
def test_a_cited_reason_is_true_without_it_the_item_falls(
    likes: dict[int, float], balance: float, length: int
) -> None:
    ranking = rank(context(likes, balance), length=length)
    listed = list(ranking.placed_list.numbers)
    reasons = Reasons(ranking, listed)
    places = field(ranking.context).scored().shared_ranks(listed)

    for number, place in zip(listed, places, strict=True):
        for reason in reasons.of(number):
            if reason.code is ReasonCode.BECAUSE_YOU_LIKED:
                cited = CATALOG.number(str(reason.item_id))
                rest = {
                    item: strength for item, strength in likes.items() if item != cited
                }
                without = field(context(rest, balance)).scored()
                assert without.shared_ranks([number])[0] > place


def test_the_faithfulness_check_can_fail() -> None:
    """Citing what is liked most, tried or not, is found out by the law above."""
    likes = {3: 5.0, 4: 1.0}
    ranking = rank(context(likes, 0.6), length=10)
    scored = field(ranking.context).scored()
    without = field(context({4: 1.0}, 0.6)).scored()

    drops = [
        without.shared_ranks([n])[0] - scored.shared_ranks([n])[0]
        for n in ranking.placed_list.numbers
    ]
    assert any(drop <= 0 for drop in drops)
    assert any(drop > 0 for drop in drops)


def test_every_item_has_a_reason_even_when_nothing_is_known() -> None:
    ranking: Ranking = rank(context({}, 0.0, standing=PLAIN), length=10)

    [reason] = Reasons(ranking, [0]).of(0)
    assert str(reason) == "from the catalog; nothing is known about you"
    assert reason.sentence("de") == "aus dem Katalog; über dich ist nichts bekannt"


def test_every_reason_has_a_sentence_in_every_language() -> None:
    for sentences in SENTENCES.values():
        assert set(sentences) == set(ReasonCode)
    for code in ReasonCode:
        assert len({sentences[code] for sentences in SENTENCES.values()}) == len(
            SENTENCES
        )
        assert (
            len({"{title}" in sentences[code] for sentences in SENTENCES.values()}) == 1
        )


def test_without_a_model_likes_lift_their_category() -> None:
    ranking = rank(context({4: 2.0, 10: 1.0}, 1.0, 0.0, standing=PLAIN), length=5)

    assert {int(SHELF.category[n]) for n in ranking.placed_list.numbers} == {4}


@given(wear=st.lists(st.floats(0, 9), max_size=9).map(np.array), more=st.floats(0, 9))
def test_wear_only_lowers_and_never_to_nothing(wear: np.ndarray, more: float) -> None:
    left = adjustments.fatigue_factor(wear, 1.0)
    further = adjustments.fatigue_factor(wear + more, 1.0)

    assert (left <= 1).all()
    assert (left >= adjustments.MIN_FATIGUE_FACTOR).all()
    assert (further <= left).all()


def test_a_worn_item_leaves_the_top_and_a_fresh_one_stays() -> None:
    first = rank(context({3: 1.0}, 0.6), length=10).placed_list.numbers
    again = rank(
        context({3: 1.0}, 0.6, wear=dict.fromkeys(first, 1.0)), length=10
    ).placed_list.numbers

    assert set(first).isdisjoint(again)


def test_popularity_weighs_a_little_less_than_it_would() -> None:
    scores, favoured = (
        np.array([0.5, 0.5]),
        adjustments.log_popularity(np.array([1.0, 0.1], dtype=np.float32)),
    )

    corrected = adjustments.correct_popularity(scores, favoured)

    assert corrected.tolist() == [0.0, 1.0]
    assert adjustments.correct_popularity(scores, None) is scores


@given(likes=histories)
def test_best_sellers_take_no_more_than_the_own_taste_and_a_margin(
    likes: dict[int, float],
) -> None:
    ranking = rank(context(likes, 0.6), length=10)

    share = (sum(STANDING.best_sellers[n] == 0 for n in likes) + 1) / (len(likes) + 2)
    listed = sum(STANDING.best_sellers[n] == 0 for n in ranking.placed_list.numbers)
    assert listed <= np.ceil(min(share + 0.3, 1) * 10)


@given(likes=histories, balance=balances, seed=st.binary(min_size=1, max_size=8))
def test_the_same_context_gives_the_same_line(
    likes: dict[int, float], balance: float, seed: bytes
) -> None:
    one = context(likes, balance, list_policy=ListPolicy(), seed=seed)

    assert list(rank(one, length=10).line()) == list(rank(one, length=10).line())


@given(likes=histories, seed=st.binary(min_size=1, max_size=8))
def test_a_trial_is_new_to_the_person_and_its_seed_decides_which(
    likes: dict[int, float], seed: bytes
) -> None:
    list_policy = ListPolicy(most={}, places={"exploration": 0.2})
    shown = dict.fromkeys(range(0, ITEMS, 2), 3)
    known = {"standing": PLAIN, "times": shown}
    ranking = rank(
        context(likes, 0.6, list_policy=list_policy, seed=seed, **known), length=10
    )

    tried = [
        n
        for n, source in ranking.placed_list.sources.items()
        if source == "exploration"
    ]
    natural = rank(context(likes, 0.6, **known), length=10).placed_list.numbers
    assert len(tried) == 2
    assert set(tried).isdisjoint(shown)
    assert set(tried).isdisjoint(natural)


def test_one_item_and_no_items_are_catalogs_too() -> None:
    from tactful.device.catalog import Catalog, Item
    from tactful.device.ranking.scoring.catalog_scores import (
        CatalogArrays,
        ItemPopularity,
    )

    for count in (0, 1):
        catalog = Catalog(Item(id=f"only-{n}", title="") for n in range(count))
        one = context(
            {},
            0.5,
            standing=ItemPopularity(CatalogArrays(catalog), None),
            list_policy=ListPolicy(),
            seed=b"s",
        )
        assert list(rank(one, length=10).line()) == list(range(count))
