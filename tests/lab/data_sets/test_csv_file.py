"""CSV files of your own are read leniently, and their errors name line and problem."""

from pathlib import Path

import numpy as np
import pytest

from tactful.errors import DatasetError
from tactful_lab.cli import main
from tactful_lab.data_sets.loading import load


def _write(path: Path, lines: list[str], header: str = "user,item") -> str:
    path.write_text("\n".join([header, *lines]) + "\n")
    return str(path)


def test_ids_may_have_any_order_and_repeated_pairs_count_once(
    tmp_path: Path,
) -> None:
    tidy = [f"{user},{item}" for user in range(20) for item in range(5 + user % 3)]
    odd = [
        f"{10**12 - 7 * user},'x{item * 1000}'"
        for user in range(20)
        for item in range(5 + user % 3)
    ]

    ordered = load(_write(tmp_path / "tidy.csv", tidy))
    unordered = load(_write(tmp_path / "odd.csv", odd + odd[::2]))

    assert (ordered.users, ordered.items) == (20, 7)
    assert np.array_equal(ordered.indptr, unordered.indptr)
    assert np.array_equal(ordered.indices, unordered.indices)
    assert unordered.item_ids[1] == "'x1000'"


def test_ratings_below_four_stars_are_ignored_and_times_are_loaded(
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
def test_a_wrong_csv_file_gives_a_one_line_error_with_the_problem(
    lines: list[str],
    header: str,
    problem: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = _write(tmp_path / "mine.csv", lines, header)

    assert main(["simulate", path, "--epsilon", "1"]) == 2

    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1


def test_a_csv_file_that_is_binary_or_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "image.csv").write_bytes(b"user,item\n\xff\xfe,1\n")
    for name in ("image.csv", "absent.csv"):
        with pytest.raises(DatasetError, match="it cannot be read"):
            load(str(tmp_path / name))
