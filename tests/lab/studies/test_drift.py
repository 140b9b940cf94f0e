"""Refreshed models spend one lifetime budget and follow changes of taste."""

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
    """Two tastes: even and odd items. Each day sells 24 items, shifted by `moving`."""
    coin = np.random.default_rng(0)
    user, item, time = [], [], []
    for person in range(people):
        for day in range(days):
            shelf = np.arange(day * moving, day * moving + 24)
            items = coin.permutation(shelf[shelf % 2 == person % 2])[:6] % ITEMS
            user += [person] * 6
            item += items.tolist()
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


def test_a_first_period_without_people_can_be_refreshed() -> None:
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
def test_periods_contain_each_pair_of_their_time_exactly_once(
    events: list[tuple[int, int, int]],
) -> None:
    user, item, time = (list(column) for column in zip(*events, strict=True))
    world = _dataset(user, item, time, 4, 6)
    try:
        slices = periods(world, 24)
    except InvalidInput:
        return

    end = (min(time) // 1) + len(slices) * DAY
    expected = {(u, i) for u, i, t in events if t < end}
    merged = merge_periods(slices)
    pairs = [(u, int(i)) for u in range(4) for i in merged.history(u)]
    assert set(pairs) == expected
    assert len(pairs) == len(expected)
    for number, period in enumerate(slices):
        start = min(time) + number * DAY
        there = {(u, i) for u, i, t in events if start <= t < start + DAY}
        assert {(u, int(i)) for u in range(4) for i in period.history(u)} == there


def test_the_last_new_items_of_a_period_are_hidden() -> None:
    world = _world(3, 8)
    before, now = (periods(world, 24)[day] for day in (0, 1))

    count = 0
    for person in active(now):
        for visible, hidden in zip(
            *vars(upcoming(before, now, person[None])).values(), strict=True
        ):
            count += 1
            assert not set(visible) & set(hidden)
            new = [
                item
                for item in now.history(person)
                if item not in before.history(person)
            ]
            assert new[-len(hidden) :] == list(hidden)
    assert count > 500


def test_all_refreshes_together_spend_the_lifetime_budget() -> None:
    slices = periods(_world(4, 0), 24)
    mu = mu_for(3.0, 1e-6)
    plan = refresh_plan(ITEMS, 4, users=600, mu=mu)
    state, releases, generator = (
        RefreshState.empty(ITEMS, plan.rank),
        [],
        np.random.default_rng(0),
    )

    for period in slices:
        refreshed = refresh(
            Population(period, active(period)), plan, mu, state, 0.5, generator
        )
        state = refreshed.state
        releases += refreshed.releases

    assert len(releases) == 8
    assert 2.99 < claim(releases, 1e-6).epsilon <= 3.0
    tau2 = float(releases[0].sigma2 * releases[0].gamma2) * 2  # of both halves
    assert state.counts_variance == pytest.approx(tau2 * (1 + 0.25 + 0.25**2 + 0.25**3))


def test_a_refresh_with_too_little_signal_has_popularity_only() -> None:
    few, many = (refresh_plan(ITEMS, 4, users=users, mu=0.5) for users in (100, 2_000))

    assert (few.rounds, many.rounds) == (1, 2)
    assert refresh_plan(ITEMS, 4, users=400, mu=0.5).rounds == 1
    assert (
        refresh_plan(ITEMS, 4, users=400, mu=0.5, decay=0.6).rounds == 2
    )  # it remembers
    for plan in (few, many):
        assert sum(plan.shares) == pytest.approx(1 / 4)


def test_the_state_of_refreshes_is_the_decayed_sum_of_counts() -> None:
    slices = periods(_world(3, 8), 24)
    mu, plan = 30.0, refresh_plan(ITEMS, 3, users=0, mu=30.0)
    state, expected = RefreshState.empty(ITEMS), np.zeros(ITEMS)

    for period in slices:
        refreshed = refresh(
            Population(period, active(period)), plan, mu, state, 0.5, _coin(1)
        )
        state = refreshed.state
        day = np.bincount(period.indices, minlength=ITEMS) / math.sqrt(6)
        expected = day + 0.5 * expected

    assert np.allclose(
        state.counts, expected, rtol=0, atol=3
    )  # 5 deviations of rounding


def _final(world: Dataset, mu: float, decay: float, seed: int) -> float:
    """NDCG@100 on the last day of the model refreshed until the day before."""
    slices, generator = periods(world, 24), _coin(seed)
    plan = refresh_plan(ITEMS, len(slices) - 1, users=600, mu=mu, decay=0.9)
    state = RefreshState.empty(ITEMS, plan.rank)
    for period in slices[:-1]:
        refreshed = refresh(
            Population(period, active(period)), plan, mu, state, decay, generator
        )
        state = refreshed.state
    holdout = upcoming(slices[-2], slices[-1], np.arange(200))
    return evaluate(scorer(refreshed.model), holdout).ndcg_at_100


def _coin(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_slow_decay_ranks_better_if_tastes_do_not_change() -> None:
    world = _world(6, 0)

    slow, fast = (
        np.mean([_final(world, 0.1, decay, seed) for seed in range(4)])
        for decay in (0.9, 0.0)
    )

    assert slow > fast + 0.02


def test_a_refreshed_model_beats_a_stale_one_if_the_items_change() -> None:
    figures = drift(_world(5, 9), epsilon=20.0, hours=24, decay=0.2)

    assert figures.days == (2, 3, 4, 5)
    assert figures.refreshes == 4
    assert figures.epsilon_claimed <= 20.0
    for name in ("refreshed", "refreshed, decayed"):
        assert figures.mean(name) > figures.mean("stale") + 0.05
    assert figures.ndcg_at_100["stale"][0] > figures.ndcg_at_100["stale"][-1]


def test_drift_prints_a_table_and_writes_json_and_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_file, plot_folder = tmp_path / "figures.json", tmp_path / "drawn"
    months = ["drift", "online-retail", "--hours", "2000", "--epsilon", "8"]

    assert main([*months, "--json", str(json_file), "--out", str(plot_folder)]) == 0

    figures = json.loads(json_file.read_text())
    for values in figures["ndcg_at_100"].values():
        assert len(values) == len(figures["days"]) == len(figures["lists"])
        assert all(0 <= value < 1 for value in values)
    output = capsys.readouterr().out
    assert "EASE, no privacy" in output
    assert (plot_folder / "drift.svg").read_text().startswith("<svg")


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
def test_drift_refuses_a_wrong_argument_in_one_line(
    arguments: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drift", *arguments]) == 2

    output = capsys.readouterr()
    assert output.err.startswith(f"tactful-lab: {field}")
    assert output.err.count("\n") == 1
    assert output.out == ""
