"""The measures agree with values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tactful.device.ranking import list_metrics


def same_parity(item: int, others: np.ndarray) -> np.ndarray:
    return (others % 2 == item % 2).astype(float)


def test_diversity_is_one_minus_the_mean_similarity_of_pairs() -> None:
    assert list_metrics.intra_list_diversity(
        np.array([0, 2, 1]), same_parity
    ) == pytest.approx(2 / 3)
    assert list_metrics.intra_list_diversity(np.array([5]), same_parity) == 1.0


def test_coverage_counts_distinct_items() -> None:
    lists = [np.array([0, 1]), np.array([1, 2])]

    assert list_metrics.catalog_coverage(lists, 10) == 0.3


def test_gini_of_equal_exposure_is_zero_and_of_one_item_nearly_one() -> None:
    assert list_metrics.gini(np.array([3, 3, 3, 3])) == pytest.approx(0)
    assert list_metrics.gini(np.array([0, 0, 0, 8])) == pytest.approx(0.75)
    assert list_metrics.gini(np.array([1, 3])) == pytest.approx(0.25)
    assert list_metrics.gini(np.zeros(4)) == 0


def test_hhi_is_the_sum_of_squared_shares() -> None:
    assert list_metrics.exposure_hhi(np.array([1, 1, 2])) == pytest.approx(
        1 / 16 + 1 / 16 + 1 / 4
    )


def test_novelty_is_measured_in_bits() -> None:
    assert list_metrics.novelty(
        np.array([0, 1]), np.array([0.5, 0.125])
    ) == pytest.approx(2)


def test_calibration_is_zero_for_the_wanted_mix_and_finite_for_the_opposite() -> None:
    wanted = np.array([0.75, 0.25])

    assert list_metrics.calibration_kl(wanted, wanted) == pytest.approx(0)
    opposite = list_metrics.calibration_kl(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert opposite == pytest.approx(-np.log(0.01))


def test_wanted_and_unwanted_repeats_are_told_apart() -> None:
    lists = [np.array([1, 2]), np.array([1, 3]), np.array([3, 2])]

    rates = list_metrics.repetition_rates(
        lists, lambda item, index: item == 3, window=2
    )

    assert rates == (1 / 6, 2 / 6)


def test_a_repeat_outside_the_window_is_none() -> None:
    lists = [np.array([1]), np.array([2]), np.array([1])]

    assert list_metrics.repetition_rates(
        lists, lambda item, index: False, window=1
    ) == (0, 0)


@given(
    exposures=arrays.arrays(np.int64, st.integers(1, 30), elements=st.integers(0, 1000))
)
def test_gini_lies_between_none_and_one_and_ignores_order(
    exposures: np.ndarray,
) -> None:
    measured = list_metrics.gini(exposures)

    assert 0 <= measured < 1
    assert measured == pytest.approx(list_metrics.gini(exposures[::-1]))


def test_the_other_shares_are_as_worked_out_by_hand() -> None:
    items, popularity = np.array([0, 2]), np.array([0.5, 0.3, 0.1])

    assert list_metrics.average_popularity(items, popularity) == pytest.approx(0.3)
    assert list_metrics.long_tail_share(items, np.array([0])) == 0.5
    assert list_metrics.popularity_lift(
        items, np.array([1]), popularity
    ) == pytest.approx(1)
    assert list_metrics.entropy(np.array([0.5, 0.5, 0])) == 1
    assert list_metrics.category_mix(items, np.array([1, 0, -1])).tolist() == [0, 1]
    assert list_metrics.standard_share([True, False]) == 0.5
    assert list_metrics.fill_rate(9, 10) == 0.9
    personal, standard = np.array([0.9, 0.1, 0.4]), np.array([0.5, 0.5, 0.5])
    assert list_metrics.serendipity(
        items, personal, standard, np.array([0])
    ) == pytest.approx(0.2)


lists_of_items = st.lists(st.integers(0, 12), unique=True, min_size=1, max_size=9)


@given(one=lists_of_items, other=lists_of_items, patience=st.floats(0.3, 0.95))
def test_overlap_is_the_mean_agreement_of_someone_who_looks_further_by_chance(
    one: list[int], other: list[int], patience: float
) -> None:
    """Equal lengths: agreement stays as it was at the end, to a depth where nobody looks."""
    length = min(len(one), len(other))
    one, other = one[:length], other[:length]
    agreement = [
        len(set(one[:d]) & set(other[:d])) / min(d, length) for d in range(1, 800)
    ]
    wanted = (1 - patience) * sum(a * patience**d for d, a in enumerate(agreement))

    assert list_metrics.rank_biased_overlap(one, other, patience) == pytest.approx(
        wanted
    )


@given(one=lists_of_items, other=lists_of_items)
def test_overlap_is_one_of_the_same_none_of_strangers_and_does_not_mind_which_is_first(
    one: list[int], other: list[int]
) -> None:
    measured = list_metrics.rank_biased_overlap(one, other)

    assert 0 <= measured <= 1 + 1e-9
    assert measured == pytest.approx(list_metrics.rank_biased_overlap(other, one))
    assert list_metrics.rank_biased_overlap(one, one) == pytest.approx(1)
    assert list_metrics.rank_biased_overlap(one, [100 + n for n in other]) == 0


def test_overlap_of_lists_of_two_lengths_is_as_worked_out_by_hand() -> None:
    # X = 1, 1, 2 at depths 1 to 3; s = 1, l = 3; p = 1/2
    by_hand = (1 / 2 + 1 / 8 + 1 / 24) + 1 * (1 / 2) / 4 + 1 * (2 / 3) / 8 + 1 / 8
    assert list_metrics.rank_biased_overlap([7], [7, 8, 9], 0.5) == pytest.approx(
        by_hand
    )
    assert list_metrics.rank_biased_overlap([], [1]) == 0
    assert list_metrics.rank_biased_overlap([], []) == 1


def test_overlaps_are_means_over_lists_in_a_row() -> None:
    lists = [np.array([1, 2]), np.array([2, 3]), np.array([2, 3])]

    rbo, both = list_metrics.overlaps(lists)

    assert both == pytest.approx((1 / 3 + 1) / 2)
    assert rbo == pytest.approx(
        (list_metrics.rank_biased_overlap([1, 2], [2, 3]) + 1) / 2
    )
    assert list_metrics.overlaps(lists[:1]) == (0, 0)
    assert list_metrics.jaccard([], []) == 1


def test_entropy_weighs_the_first_places_most() -> None:
    halves = list_metrics.rank_biased_entropy([0, 1], patience=1.0)
    third = np.array([2 / 3, 1 / 3])

    assert halves == 1
    assert list_metrics.rank_biased_entropy([4, 9], patience=0.5) == pytest.approx(
        -(third * np.log2(third)).sum()
    )
    assert list_metrics.rank_biased_entropy([3, 3, -1]) == 0
    assert list_metrics.rank_biased_entropy([]) == 0
    assert list_metrics.rank_biased_entropy(
        [0, 1, 1]
    ) > list_metrics.rank_biased_entropy([1, 1, 0])


def test_what_was_lifted_from_below_the_list_is_counted_in_places() -> None:
    assert list_metrics.lowest_promoted([0, 1, 2], 3) == 0
    assert list_metrics.lowest_promoted([0, 7, 2], 3) == 5
    assert list_metrics.lowest_promoted([], 3) == 0


def test_the_quality_of_lists_is_as_worked_out_by_hand() -> None:
    lists = [np.array([1, 1, 2]), np.array([3]), np.array([], dtype=np.int64)]

    assert list_metrics.unrepeated(lists) == 3 / 4
    assert list_metrics.sufficient(lists, 2) == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert list_metrics.covered_users(lists) == pytest.approx(2 / 3)
    assert list_metrics.unrepeated([]) == 1
    assert list_metrics.cap_hit_rate(3, 9) == 0.25
    assert list_metrics.cap_hit_rate(0, 0) == 0
    assert list_metrics.fatigue_index([0.5, 1.5]) == 1
    assert list_metrics.faithfulness([True, False]) == 0.5
