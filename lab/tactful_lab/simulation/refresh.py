"""A model refreshed each period from decayed noisy sums, under one lifetime budget.

Each refresh has two rounds: popularity, and one step of subspace iteration from the
previous basis. A device that joins every refresh spends exactly the budget. The state
between refreshes consists of released sums, so storing, decaying and rotating it costs
no privacy (post-processing).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tactful.learning.model import Model
from tactful.learning.round_parameters import Guide
from tactful.privacy.mechanism import GaussianRelease
from tactful_aggregator.learning import release_gate
from tactful_aggregator.learning.rounds import NoisySum, learn
from tactful_aggregator.learning.subspace import (
    direction,
    finish,
    first_guide,
    next_guide,
    without,
)
from tactful_aggregator.learning.training_plan import FACTOR_PAIR, Plan, popularity_plan
from tactful_lab.simulation.population import (
    Population,
    SimulatedRound,
    final_model,
    planned_round,
)

Floats = NDArray[np.float64]

HEAD, RANK = 512, 16
POPULARITY_SHARE = 0.15  # of a refresh
MODEL_POPULARITY_SHARE = 2.0  # weight of popularity in a refreshed model
RANDOM_SHARE = 0.3  # of a random basis in the next start, so that new items can enter


@dataclass(frozen=True, eq=False)
class RefreshState:
    """Decayed noisy sums over all n items: popularity, and a step with its basis.

    The variances are those of the noise of one entry. `people` is the number of people
    in the sums, with earlier ones decayed likewise. `start` is the next basis.
    """

    counts: Floats  # (n,)
    counts_variance: float
    step: Floats  # (n, k)
    step_variance: float
    basis: Floats  # (n, k)
    start: Floats  # (n, k)
    people: float

    @classmethod
    def empty(cls, n: int, rank: int = RANK) -> RefreshState:
        """Return the state before the first refresh."""
        zeros = np.zeros((n, rank))
        return cls(np.zeros(n), 0.0, zeros, 0.0, zeros, zeros, 0.0)


@dataclass(frozen=True, eq=False)
class Refreshed:
    """The result of one refresh: a model, its releases and the next state."""

    model: Model
    releases: tuple[GaussianRelease, ...]
    state: RefreshState


def refresh_plan(
    n: int, refreshes: int, *, users: int, mu: float, decay: float = 0.0
) -> Plan:
    """Return the plan of each of `refreshes` refreshes with `users` people each.

    Its shares are parts of the lifetime's mu^2. It has popularity only if the release
    gate would stay closed for the signal of one refresh and the decayed ones before.
    """
    # With decay, signals add up to 1 / (1 - decay) times that of one refresh, and noise
    # to 1 / sqrt(1 - decay^2) times; this is the quotient of the two.
    decay_gain = math.sqrt((1 + decay) / (1 - decay))
    refresh_mu = mu / math.sqrt(refreshes) * decay_gain
    snr = release_gate.signal_to_noise(n, users, refresh_mu, FACTOR_PAIR)
    if not release_gate.is_worth_it(snr) or n < 2:
        return replace(popularity_plan(n), shares=(1 / refreshes,))
    popularity_share = POPULARITY_SHARE / refreshes
    step_share = (1 - POPULARITY_SHARE) / refreshes
    return Plan(
        items=n,
        head=min(HEAD, n),
        rank=min(RANK, n // 2),
        shares=(popularity_share, step_share),
        popularity_share=MODEL_POPULARITY_SHARE,
    )


def refresh(
    crowd: Population,
    plan: Plan,
    mu: float,
    state: RefreshState,
    decay: float,
    generator: np.random.Generator,
) -> Refreshed:
    """Run one refresh: add the crowd's sums to `decay` times those of `state`.

    `mu` is the budget of the whole lifetime. Sums are floats, with the noise of both
    aggregators.
    """
    rounds = _RefreshRounds(crowd, plan, mu, decay, generator, generator.bytes(32))
    state, popularity = rounds.add_counts(state)
    tau = math.sqrt(state.counts_variance)
    if plan.rounds == 1:
        counts = NoisySum(state.counts, tau, round(state.people), rounds.seed)
        model = final_model(learn(plan, 0, None, counts).lead)
        return Refreshed(model, (popularity,), state)
    random_guide = first_guide(state.counts, tau, plan, rounds.seed)
    guide = _warm_start(random_guide, state.start)
    state, step = rounds.add_step(state, guide)
    step_sum = state.step[guide.head].reshape(-1)
    tau = math.sqrt(state.step_variance)
    next_start = _to_all_items(next_guide(step_sum, guide).basis, guide)
    state = replace(state, start=next_start)
    mean_root = max(float(state.counts.sum()) / state.people, 0.0)
    final_plan = replace(plan, mean_root=mean_root)
    model = finish(step_sum, tau, final_plan, guide, state.people)
    return Refreshed(model, (popularity, step), state)


@dataclass(frozen=True, eq=False)
class _RefreshRounds:
    """The two rounds of one refresh."""

    crowd: Population
    plan: Plan
    mu: float
    decay: float
    generator: np.random.Generator
    seed: bytes

    def add_counts(self, state: RefreshState) -> tuple[RefreshState, GaussianRelease]:
        """Run the popularity round and add its counts to the decayed ones."""
        noisy, current = self._noisy_sum(0, None)
        # At least 1, because the first period may have no people.
        people = max(len(self.crowd) + self.decay * state.people, 1.0)
        state = replace(
            state,
            counts=noisy + self.decay * state.counts,
            counts_variance=current.tau**2 + self.decay**2 * state.counts_variance,
            people=people,
        )
        return state, current.release

    def add_step(
        self, state: RefreshState, guide: Guide
    ) -> tuple[RefreshState, GaussianRelease]:
        """Run the subspace round; add its step to the decayed one in the new basis."""
        noisy, current = self._noisy_sum(1, guide)
        # M V' = M V (V^T V') as far as V spans V'. V^T V' has no singular value above
        # 1, so the rotation does not increase the noise.
        rotation = state.basis[guide.head].T @ guide.basis
        rotated = state.step[guide.head] @ rotation
        step = noisy.reshape(guide.basis.shape) + self.decay * rotated
        state = replace(
            state,
            step=_to_all_items(step, guide),
            step_variance=current.tau**2 + self.decay**2 * state.step_variance,
            basis=_to_all_items(guide.basis, guide),
        )
        return state, current.release

    def _noisy_sum(
        self, number: int, guide: Guide | None
    ) -> tuple[Floats, SimulatedRound]:
        planned = planned_round(
            self.plan, number, self.mu, "pair", "rounded_gaussian", self.seed
        )
        current = replace(planned, guide=guide)
        noisy = self.crowd.noisy_sum(current, guide, "pair", self.generator, "float")
        return noisy, current


def _warm_start(guide: Guide, start: Floats) -> Guide:
    """Return `guide` with the basis `start`, mixed with a part of its random basis."""
    popular = direction(guide.popularity, guide.weights, guide.head)
    mixed = start[guide.head] + RANDOM_SHARE * guide.basis
    basis, _ = np.linalg.qr(without(popular, mixed))
    return replace(guide, basis=basis.astype(np.float32))


def _to_all_items(rows: NDArray[np.floating], guide: Guide) -> Floats:
    """Return rows of the head as rows of all items, with zeros elsewhere."""
    all_rows = np.zeros((len(guide.weights), rows.shape[1]))
    all_rows[guide.head] = rows
    return all_rows
