"""Data as bad as it comes: a sentence that says what is wrong, or a model with finite numbers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.errors import DatasetError
from tactful.learning.training_plan import Plan
from tactful_lab.baselines.simple import scorer
from tactful_lab.cli import main
from tactful_lab.data_sets.loading import Dataset, load
from tactful_lab.simulation.population import Fidelity, Population


def _dataset(histories: list[list[int]], items: int) -> Dataset:
    nothing = ("",) * items
    return Dataset(
        name="yours",
        licence="",
        indptr=np.cumsum([0, *(len(one) for one in histories)]),
        indices=np.array([item for one in histories for item in one], dtype=np.int64),
        item_ids=nothing,
        titles=nothing,
        categories=nothing,
        prices=np.full(items, np.nan),
    )


def _write(path: Path, lines: list[str], header: str = "user,item") -> str:
    path.write_text("\n".join([header, *lines]) + "\n")
    return str(path)


def _all_alike(user: int) -> list[int]:
    return list(range(8))


def _no_overlap(user: int) -> list[int]:
    return list(range(6 * user, 6 * user + 6))


@settings(max_examples=15, deadline=None)
@given(
    items=st.integers(1, 5),
    people=st.lists(st.sets(st.integers(0, 4)), min_size=1, max_size=6),
    epsilon=st.sampled_from([0.1, 20.0]),
    fidelity=st.sampled_from(["exact", "float"]),
    personal=st.booleans(),
)
def test_no_released_model_has_a_nan_in_it(
    items: int,
    people: list[set[int]],
    epsilon: float,
    fidelity: Fidelity,
    personal: bool,
) -> None:
    known = [sorted(item for item in one if item < items) for one in people]
    dataset = _dataset(known, items)
    plan = Plan(
        items=items, head=items, rank=max(items // 2, 1), shares=(0.1, 0.4, 0.5)
    )

    training = Population(dataset, np.arange(len(people))).train(
        epsilon,
        1e-6,
        noise="pair",
        generator=np.random.default_rng(0),
        plan=plan if personal else None,
        fidelity=fidelity,
    )

    for values in training.model.arrays().values():
        assert np.isfinite(values.astype(np.float64)).all()
    assert np.isfinite(
        scorer(training.model)([np.array(one, dtype=int) for one in known])
    ).all()


@pytest.mark.parametrize("shape", [_all_alike, _no_overlap])
def test_people_who_say_nothing_of_each_other_get_finite_figures(
    shape: Callable[[int], list[int]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [f"p{user},i{item}" for user in range(60) for item in shape(user)]
    path = _write(tmp_path / "shop.csv", lines)

    for command in (
        ["simulate", path, "--epsilon", "1"],
        ["compare", path, "--seeds", "1"],
    ):
        assert (
            main(
                [
                    *command,
                    *(["--methods", "ease", "ours"] if "compare" in command else []),
                ]
            )
            == 0
        )
        told = capsys.readouterr().out
        assert "shop.csv" in told
        assert "nan" not in told


def test_ids_need_no_order_and_a_pair_that_stands_twice_counts_once(
    tmp_path: Path,
) -> None:
    tidy = [f"{user},{item}" for user in range(20) for item in range(5 + user % 3)]
    odd = [
        f"{10**12 - 7 * user},'x{item * 1000}'"
        for user in range(20)
        for item in range(5 + user % 3)
    ]

    one = load(_write(tmp_path / "tidy.csv", tidy))
    other = load(_write(tmp_path / "odd.csv", odd + odd[::2]))

    assert (one.users, one.items) == (20, 7)
    assert np.array_equal(one.indptr, other.indptr)
    assert np.array_equal(one.indices, other.indices)
    assert other.item_ids[1] == "'x1000'"


def test_ratings_below_four_stars_are_no_liking_and_times_are_kept(
    tmp_path: Path,
) -> None:
    lines = [
        f"u{user},i{item},{item % 2 * 4},{1_000 + item}"
        for user in range(9)
        for item in range(12)
    ]

    dataset = load(_write(tmp_path / "films.csv", lines, "user,item,rating,time"))

    assert dataset.item_ids == tuple(f"i{item}" for item in range(1, 12, 2))
    assert dataset.events is not None
    assert set(dataset.events.time) == {1_000 + item for item in range(1, 12, 2)}


@pytest.mark.parametrize(
    ("lines", "header", "problem"),
    [
        ([], "user,item", "it has no positive interactions"),
        (["1,2"], "who,what", "its first line is"),
        (["1,2"], "user,item,item", "its first line is"),
        (["1"], "user,item", "line 2: it does not have 2 values"),
        (["1,2,3"], "user,item", "line 2: it does not have 2 values"),
        (["1,2", " ,3"], "user,item", "line 3: the user is empty"),
        (["1,2,6"], "user,item,rating", "line 2: the rating '6' is not in 0..5"),
        (["1,2,-1"], "user,item,rating", "the rating '-1' is not in 0..5"),
        (["1,2,nan"], "user,item,rating", "the rating 'nan' is not in 0..5"),
        (["1,2,good"], "user,item,rating", "the rating 'good' is not in 0..5"),
        (["1,2,3"], "user,item,rating", "it has no positive interactions"),
        (["1,2,1e9"], "user,item,time", "the time '1e9' is not valid"),
        (["1,2,-5"], "user,item,time", "the time '-5' is not valid"),
        (['1,"2'], "user,item", "it cannot be read"),
        (["1,7"], "user,item", "no user has 5 of the most popular items"),
        (
            [f"1,{item}" for item in range(9)],
            "user,item",
            "1 people and 9 items are too few",
        ),
        (
            [f"{user},7" for user in range(99)],
            "user,item",
            "no user has 5 of the most popular items",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(
    lines: list[str],
    header: str,
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = _write(tmp_path / "mine.csv", lines, header)

    assert main(["simulate", path, "--epsilon", "1"]) == 2

    told = capsys.readouterr().err
    assert problem in told
    assert told.count("\n") == 1


def test_a_file_that_is_not_text_or_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "image.csv").write_bytes(b"user,item\n\xff\xfe,1\n")
    for name in ("image.csv", "absent.csv"):
        with pytest.raises(DatasetError, match="it cannot be read"):
            load(str(tmp_path / name))
