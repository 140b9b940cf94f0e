"""A model that is refreshed from decayed sums keeps its lifetime budget and keeps up."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import InvalidInput
from tactful.privacy.accountant import claim, mu_for
from tactful_lab.baselines.simple import scorer
from tactful_lab.cli import main
from tactful_lab.data_sets.loading import Dataset, Events
from tactful_lab.ranking_metrics import evaluate
from tactful_lab.simulation.periods import active, merge_periods, periods, upcoming
from tactful_lab.simulation.population import Population
from tactful_lab.simulation.refresh import RefreshState, refresh, refresh_plan
from tactful_lab.studies.drift import drift

DAY = 86_400
ITEMS = 60


def _world(days: int, moving: int, people: int = 600) -> Dataset:
    """Two tastes, even and odd items; each day 24 items are sold, from `moving` items on."""
    coin = np.random.default_rng(0)
    user, item, time = [], [], []
    for person in range(people):
        for day in range(days):
            shelf = np.arange(day * moving, day * moving + 24)
            mine = coin.permutation(shelf[shelf % 2 == person % 2])[:6] % ITEMS
            user += [person] * 6
            item += mine.tolist()
            time += (day * DAY + np.sort(coin.integers(0, DAY, 6))).tolist()
    return _dataset(user, item, time, people, ITEMS)


def _dataset(
    user: list[int], item: list[int], time: list[int], people: int, items: int
) -> Dataset:
    events = Events(
        *(np.array(column, dtype=np.int64) for column in (user, item, time, time))
    )
    order = np.lexsort((events.time, events.user))
    events = Events(*(column[order] for column in vars(events).values()))
    nothing = ("",) * items
    return Dataset(
        name="world",
        licence="",
        indptr=np.searchsorted(events.user, np.arange(people + 1)),
        indices=events.item,
        item_ids=nothing,
        titles=nothing,
        categories=nothing,
        prices=np.full(items, np.nan),
        events=events,
    )


def test_a_first_period_without_anybody_is_no_division_by_zero() -> None:
    world = _world(days=2, moving=0)
    mu = mu_for(8.0, 1e-6)
    plan = refresh_plan(ITEMS, 2, users=600, mu=mu)
    nobody, everybody = (Population(world, np.arange(count)) for count in (0, 600))
    generator = np.random.default_rng(0)

    first = refresh(
        nobody, plan, mu, RefreshState.empty(ITEMS, plan.rank), 0.3, generator
    )
    second = refresh(everybody, plan, mu, first.state, 0.3, generator)

    assert plan.rounds == 2
    assert np.isfinite(first.model.standard()).all()
    assert second.model.kind == "personal"


happened = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 5 * DAY)), min_size=1
)


@given(events=happened)
def test_periods_lose_nothing_and_tell_nothing_twice(
    events: list[tuple[int, int, int]],
) -> None:
    user, item, time = (list(column) for column in zip(*events, strict=True))
    world = _dataset(user, item, time, 4, 6)
    try:
        cut = periods(world, 24)
    except InvalidInput:
        return

    end = (min(time) // 1) + len(cut) * DAY
    expected = {(u, i) for u, i, t in events if t < end}
    whole = merge_periods(cut)
    pairs = [(u, int(i)) for u in range(4) for i in whole.history(u)]
    assert set(pairs) == expected
    assert len(pairs) == len(expected)
    for number, period in enumerate(cut):
        start = min(time) + number * DAY
        there = {(u, i) for u, i, t in events if start <= t < start + DAY}
        assert {(u, int(i)) for u in range(4) for i in period.history(u)} == there


def test_what_is_hidden_is_new_last_and_not_known() -> None:
    world = _world(3, 8)
    before, now = (periods(world, 24)[day] for day in (0, 1))

    found = 0
    for person in active(now):
        for known, hidden in zip(
            *vars(upcoming(before, now, person[None])).values(), strict=True
        ):
            found += 1
            assert not set(known) & set(hidden)
            new = [
                item
                for item in now.history(person)
                if item not in before.history(person)
            ]
            assert new[-len(hidden) :] == list(hidden)
    assert found > 500


def test_all_refreshes_together_cost_the_lifetimes_budget() -> None:
    cut = periods(_world(4, 0), 24)
    mu = mu_for(3.0, 1e-6)
    plan = refresh_plan(ITEMS, 4, users=600, mu=mu)
    memory, releases, coin = (
        RefreshState.empty(ITEMS, plan.rank),
        [],
        np.random.default_rng(0),
    )

    for one in cut:
        done = refresh(Population(one, active(one)), plan, mu, memory, 0.5, coin)
        memory = done.state
        releases += done.releases

    assert len(releases) == 8
    assert 2.99 < claim(releases, 1e-6).epsilon <= 3.0
    tau2 = float(releases[0].sigma2 * releases[0].gamma2) * 2  # of both halves
    assert memory.counts_variance == pytest.approx(
        tau2 * (1 + 0.25 + 0.25**2 + 0.25**3)
    )


def test_a_refresh_that_cannot_tell_people_apart_counts_only() -> None:
    few, many = (refresh_plan(ITEMS, 4, users=users, mu=0.5) for users in (100, 2_000))

    assert (few.rounds, many.rounds) == (1, 2)
    assert refresh_plan(ITEMS, 4, users=400, mu=0.5).rounds == 1
    assert (
        refresh_plan(ITEMS, 4, users=400, mu=0.5, decay=0.6).rounds == 2
    )  # it remembers
    for plan in (few, many):
        assert sum(plan.shares) == pytest.approx(1 / 4)


def test_decayed_counts_are_the_decayed_sums() -> None:
    cut = periods(_world(3, 8), 24)
    mu, plan = 30.0, refresh_plan(ITEMS, 3, users=0, mu=30.0)
    memory, expected = RefreshState.empty(ITEMS), np.zeros(ITEMS)

    for one in cut:
        done = refresh(Population(one, active(one)), plan, mu, memory, 0.5, _coin(1))
        memory = done.state
        day = np.bincount(one.indices, minlength=ITEMS) / math.sqrt(6)
        expected = day + 0.5 * expected

    assert np.allclose(
        memory.counts, expected, rtol=0, atol=3
    )  # 5 deviations of rounding


def _final(world: Dataset, mu: float, decay: float, seed: int) -> float:
    """NDCG@100 on the last day of the model refreshed until the day before."""
    cut, coin = periods(world, 24), _coin(seed)
    plan = refresh_plan(ITEMS, len(cut) - 1, users=600, mu=mu, decay=0.9)
    memory = RefreshState.empty(ITEMS, plan.rank)
    for one in cut[:-1]:
        done = refresh(Population(one, active(one)), plan, mu, memory, decay, coin)
        memory = done.state
    coming = upcoming(cut[-2], cut[-1], np.arange(200))
    return evaluate(scorer(done.model), coming).ndcg_at_100


def _coin(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_remembering_helps_where_nothing_changes() -> None:
    world = _world(6, 0)

    kept, forgotten = (
        np.mean([_final(world, 0.1, decay, seed) for seed in range(4)])
        for decay in (0.9, 0.0)
    )

    assert kept > forgotten + 0.02


def test_a_refreshed_model_beats_a_stale_one_where_items_come_and_go() -> None:
    figures = drift(_world(5, 9), epsilon=20.0, hours=24, decay=0.2)

    assert figures.days == (2, 3, 4, 5)
    assert figures.refreshes == 4
    assert figures.epsilon_claimed <= 20.0
    for name in ("refreshed", "refreshed, decayed"):
        assert figures.mean(name) > figures.mean("stale") + 0.05
    assert figures.ndcg_at_100["stale"][0] > figures.ndcg_at_100["stale"][-1]


def test_the_command_prints_writes_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written, drawn = tmp_path / "figures.json", tmp_path / "drawn"
    months = ["drift", "online-retail", "--hours", "2000", "--epsilon", "8"]

    assert main([*months, "--json", str(written), "--out", str(drawn)]) == 0

    figures = json.loads(written.read_text())
    for values in figures["ndcg_at_100"].values():
        assert len(values) == len(figures["days"]) == len(figures["lists"])
        assert all(0 <= value < 1 for value in values)
    told = capsys.readouterr().out
    assert "EASE, no privacy" in told
    assert (drawn / "drift.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["msweb"], "dataset"),
        (["online-retail", "--hours", "0"], "--hours"),
        (["online-retail", "--hours", "8761"], "--hours"),
        (["online-retail", "--decay", "1"], "--decay"),
        (["online-retail", "--epsilon", "0"], "epsilon"),
        (["online-retail", "--seed", "-1"], "seed"),
        (["online-retail", "--out", "/dev/null/x"], "--out"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_exit_status_two(
    arguments: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drift", *arguments]) == 2

    told = capsys.readouterr()
    assert told.err.startswith(f"tactful-lab: {field}")
    assert told.err.count("\n") == 1
    assert told.out == ""
