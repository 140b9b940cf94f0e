"""Adverse crowds behave as described, and the command reports their effect."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tactful.learning.round_parameters import Guide
from tactful.protocol.vector_encoding import Encoding
from tactful_aggregator.learning.subspace import first_guide
from tactful_aggregator.learning.training_plan import Plan
from tactful_lab.baselines.simple import Popularity, popularity
from tactful_lab.cli import main
from tactful_lab.data_sets.loading import Dataset, load, split
from tactful_lab.ranking_metrics import Holdout
from tactful_lab.simulation import adversity
from tactful_lab.simulation.adversity import Changing, Dropping, Poisoned
from tactful_lab.simulation.population import BOX, LEVELS, Population
from tactful_lab.studies import stress

PLAN = Plan(items=277, head=64, rank=8, shares=(0.1, 0.9))
KINDS = {
    "popularity": Encoding(277, LEVELS, BOX, b"t"),
    "subspace": Encoding(512, 14, 3, b"t"),
}


@pytest.fixture(scope="module")
def visits() -> Dataset:
    return load("msweb")


@pytest.fixture(scope="module")
def users(visits: Dataset) -> np.ndarray:
    return split(visits).train[:500]


@pytest.fixture(scope="module")
def guide(visits: Dataset, users: np.ndarray) -> Guide:
    return first_guide(popularity(visits, users).counts, 1.0, PLAN, b"public")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", adversity.PROVED.values())
def test_attackers_change_a_sum_by_at_most_the_length_that_proofs_allow(
    visits: Dataset, users: np.ndarray, guide: Guide, kind: str, length: float
) -> None:
    led = guide if kind == "subspace" else None
    honest = Population(visits, users).float_total(kind, KINDS[kind], led)

    crowd = Poisoned(visits, users, 30, int(guide.head[5]), length)
    moved = np.linalg.norm(crowd.float_total(kind, KINDS[kind], led) - honest)

    assert len(crowd) == 530
    assert 10 * length < moved <= 30 * length + 1e-9


def test_the_length_bound_of_sum_vec_is_the_corner_of_the_box() -> None:
    encoding = KINDS["popularity"]
    corner = np.full(encoding.padded, encoding.levels, dtype=np.int64)

    levels = np.linalg.norm(corner - encoding.levels // 2)

    assert levels / encoding.levels_per_unit == adversity.PROVED["sum_vec_field64"]


def test_devices_that_drop_out_of_a_round_are_not_in_its_sum(
    visits: Dataset, users: np.ndarray
) -> None:
    encoding = KINDS["popularity"]
    total = Population(visits, users).float_total("popularity", encoding, None)

    def part(missing: float) -> np.ndarray:
        crowd = Dropping(visits, users, missing, np.random.default_rng(0))
        return crowd.float_total("popularity", encoding, None)

    assert np.array_equal(part(0.0), total)
    assert not part(1.0).any()
    assert part(0.5).sum() == pytest.approx(0.5 * total.sum(), rel=0.2)


def test_retired_items_are_reported_in_the_first_round_only(
    visits: Dataset, users: np.ndarray, guide: Guide
) -> None:
    gone = guide.head[:10].astype(np.int64)
    crowd = Changing(visits, users, gone)

    first = crowd.float_total("popularity", KINDS["popularity"], None)
    later = crowd.float_total("subspace", KINDS["subspace"], guide).reshape(64, 8)

    assert (first[gone] > 0).all()
    assert not later[guide.rows[gone]].any()
    assert later.any()


def test_outliers_do_not_change_the_histories_of_others(
    visits: Dataset, users: np.ndarray
) -> None:
    changed, generator = users[:20], np.random.default_rng(0)
    others = np.setdiff1d(users, changed)

    short = adversity.shortened(visits, changed, 1)
    long = adversity.with_outliers(visits, changed, generator)

    for user in changed:
        assert np.array_equal(short.history(int(user)), visits.history(int(user))[:1])
        items = long.history(int(user))
        assert len(items) > 100
        assert len(set(items)) == len(items)
    for dataset in (short, long):
        for items, history in zip(
            dataset.histories(others), visits.histories(others), strict=True
        ):
            assert np.array_equal(items, history)


def test_dominant_items_are_added_once_to_nearly_all_people(visits: Dataset) -> None:
    items = np.array([200, 3])

    world = adversity.dominated(visits, items, 0.9, np.random.default_rng(0))

    counts = np.bincount(world.indices, minlength=world.items)
    assert (counts[items] > 0.88 * visits.users).all()
    assert counts.max() <= visits.users
    assert adversity.without(world, items).indices.tolist().count(3) == 0


def test_the_rank_of_a_pushed_item_counts_better_items_without_owned_ones() -> None:
    scorer = Popularity(np.array([5.0, 4.0, 3.0, 2.0]))
    holdout = Holdout((np.array([0]), np.array([2]), np.array([3])), ())

    places = stress.target_ranks(scorer, 2, holdout)

    assert places.tolist() == [2, 3]  # without the one who has it


def test_stress_prints_and_writes_all_conditions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    json_file = tmp_path / "stress.json"
    monkeypatch.setattr(stress, "ATTACKER_SHARES", (0.05,))

    assert main(["stress", "msweb", "--seeds", "1", "--json", str(json_file)]) == 0

    figures = json.loads(json_file.read_text())
    assert [row["condition"] for row in figures["rows"]] == list(stress.CONDITIONS)
    for row in figures["rows"]:
        assert 0 < row["ndcg_at_100"] < 1
    for push in figures["pushes"]:
        before, after = push["exposure"]
        assert after > before + 0.03  # they do get somewhere
    output = capsys.readouterr().out
    assert "50 % drop out of each round" in output
    assert "5% within pine64" in output


def test_stress_refuses_a_wrong_argument_in_one_line(
    capsys: pytest.CaptureFixture[str], visits: Dataset
) -> None:
    for arguments, field in (
        (["stress", "nothing"], "dataset"),
        (["stress", "msweb", "--seeds", "0"], "seeds"),
        (["stress", "msweb", "--epsilon", "0"], "epsilon"),
        (["stress", "msweb", "--json", "/dev/null/x"], "--json"),
    ):
        assert main(arguments) == 2
        assert capsys.readouterr().err.startswith(f"tactful-lab: {field}")

    alone = replace(
        visits, name="alone", indptr=np.array([0, 5]), indices=visits.indices[:5]
    )
    with pytest.raises(ValueError, match="too few"):
        stress.stress(alone)
