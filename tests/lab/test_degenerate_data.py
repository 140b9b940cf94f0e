"""Degenerate data gives finite figures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful_aggregator.learning.training_plan import Plan
from tactful_lab.baselines.simple import scorer
from tactful_lab.cli import main
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.simulation.population import Fidelity, Population


def _dataset(histories: list[list[int]], items: int) -> Dataset:
    empty = ("",) * items
    return Dataset(
        name="yours",
        licence="",
        indptr=np.cumsum([0, *(len(history) for history in histories)]),
        indices=np.array(
            [item for history in histories for item in history], dtype=np.int64
        ),
        item_ids=empty,
        titles=empty,
        categories=empty,
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
def test_released_models_have_finite_numbers_only(
    items: int,
    people: list[set[int]],
    epsilon: float,
    fidelity: Fidelity,
    personal: bool,
) -> None:
    histories = [sorted(item for item in history if item < items) for history in people]
    dataset = _dataset(histories, items)
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
        scorer(training.model)([np.array(history, dtype=int) for history in histories])
    ).all()


@pytest.mark.parametrize("shape", [_all_alike, _no_overlap])
def test_people_without_overlap_or_difference_give_finite_figures(
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
        output = capsys.readouterr().out
        assert "shop.csv" in output
        assert "nan" not in output
