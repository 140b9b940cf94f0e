"""A model that is refreshed period by period from decayed noisy sums, under one lifetime budget.

Each refresh has two rounds, popularity and one step of subspace iteration from the basis before;
all rounds of all refreshes together cost a device that takes part in every one the budget. What
is kept between them are released sums, so keeping, decaying and turning them costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tactful.learning import release_gate
from tactful.learning.model import Model
from tactful.learning.round_parameters import Guide
from tactful.learning.server.rounds import NoisySum, learn
from tactful.learning.server.subspace import (
    direction,
    finish,
    first_guide,
    next_guide,
    without,
)
from tactful.learning.training_plan import FACTOR_PAIR, Plan, popularity_plan
from tactful.privacy.mechanism import GaussianRelease
from tactful_lab.simulation.population import (
    Population,
    RoundInfo,
    model_of,
    planned_round,
)

Floats = NDArray[np.float64]

HEAD, RANK = 512, 16
POPULARITY_SHARE = 0.15  # of a refresh
MIX = 2.0  # the share of popularity in a refreshed model
FRESH = 0.3  # of a random basis in the start, so that new items find people


@dataclass(frozen=True, eq=False)
class Memory:
    """Decayed noisy sums over all n items: popularity, and a step with the basis it was taken in.

    The variances are those of the noise in them, per entry; `people` are in them, those of before
    as far as they are remembered; `start` is the next basis.
    """

    counts: Floats  # (n,)
    counts_variance: float
    step: Floats  # (n, k)
    step_variance: float
    basis: Floats  # (n, k)
    start: Floats  # (n, k)
    people: float

    @classmethod
    def empty(cls, n: int, rank: int = RANK) -> Memory:
        """Nothing yet."""
        nothing = np.zeros((n, rank))
        return cls(np.zeros(n), 0.0, nothing, 0.0, nothing, nothing, 0.0)


@dataclass(frozen=True, eq=False)
class Refreshed:
    """What one refresh releases, what it cost, and what the next one starts from."""

    model: Model
    releases: tuple[GaussianRelease, ...]
    memory: Memory


def refresh_plan(
    n: int, refreshes: int, *, users: int, mu: float, decay: float = 0.0
) -> Plan:
    """The plan of each of so many refreshes of `users` each; shares are of the lifetime's mu^2.

    Popularity alone where the gate is closed for what one refresh and the decayed ones can tell:
    signals add up to 1 / (1 - decay), and noise to 1 / sqrt(1 - decay^2), of one refresh.
    """
    kept = math.sqrt((1 + decay) / (1 - decay))
    snr = release_gate.signal_to_noise(
        n, users, mu / math.sqrt(refreshes) * kept, FACTOR_PAIR
    )
    if not release_gate.is_worth_it(snr) or n < 2:
        return replace(popularity_plan(n), shares=(1 / refreshes,))
    first, rest = POPULARITY_SHARE / refreshes, (1 - POPULARITY_SHARE) / refreshes
    head, rank = min(HEAD, n), min(RANK, n // 2)
    return Plan(
        items=n, head=head, rank=rank, shares=(first, rest), popularity_share=MIX
    )


def refresh(
    crowd: Population,
    plan: Plan,
    mu: float,
    memory: Memory,
    decay: float,
    generator: np.random.Generator,
) -> Refreshed:
    """One refresh: this crowd's sums and `decay` of what was known before, as the pair releases.

    `mu` is the budget of the whole lifetime; float sums, noise of both halves.
    """
    going = _Going(crowd, plan, mu, decay, generator, generator.bytes(32))
    memory, popularity = going.counted(memory)
    tau = math.sqrt(memory.counts_variance)
    if plan.rounds == 1:
        counted = NoisySum(memory.counts, tau, round(memory.people), going.seed)
        return Refreshed(
            model_of(learn(plan, 0, None, counted).lead), (popularity,), memory
        )
    guide = _warm(first_guide(memory.counts, tau, plan, going.seed), memory.start)
    memory, step = going.stepped(memory, guide)
    kept, tau = memory.step[guide.head].reshape(-1), math.sqrt(memory.step_variance)
    memory = replace(memory, start=_on_all(next_guide(kept, guide).basis, guide))
    mean_root = max(float(memory.counts.sum()) / memory.people, 0.0)
    model = finish(kept, tau, replace(plan, mean_root=mean_root), guide, memory.people)
    return Refreshed(model, (popularity, step), memory)


@dataclass(frozen=True, eq=False)
class _Going:
    """A refresh on its way: who contributes, for how much of the budget, by which noise."""

    crowd: Population
    plan: Plan
    mu: float
    decay: float
    generator: np.random.Generator
    seed: bytes

    def counted(self, memory: Memory) -> tuple[Memory, GaussianRelease]:
        """The counts, and the decayed ones before."""
        noisy, here = self._summed(0, None)
        memory = replace(
            memory,
            counts=noisy + self.decay * memory.counts,
            counts_variance=here.tau**2 + self.decay**2 * memory.counts_variance,
            people=max(
                len(self.crowd) + self.decay * memory.people, 1.0
            ),  # nobody may come first
        )
        return memory, here.release

    def stepped(self, memory: Memory, guide: Guide) -> tuple[Memory, GaussianRelease]:
        """The step in this guide's basis, and the decayed one turned into it.

        M V' = M V (V^T V') as far as V spans V'; turning makes no noise larger.
        """
        noisy, here = self._summed(1, guide)
        turned = memory.step[guide.head] @ (memory.basis[guide.head].T @ guide.basis)
        memory = replace(
            memory,
            step=_on_all(noisy.reshape(guide.basis.shape) + self.decay * turned, guide),
            step_variance=here.tau**2 + self.decay**2 * memory.step_variance,
            basis=_on_all(guide.basis, guide),
        )
        return memory, here.release

    def _summed(self, number: int, guide: Guide | None) -> tuple[Floats, RoundInfo]:
        here = planned_round(
            self.plan, number, self.mu, "pair", "rounded_gaussian", self.seed
        )
        here = replace(here, guide=guide)
        return self.crowd.noisy_sum(here, guide, "pair", self.generator, "float"), here


def _warm(guide: Guide, start: Floats) -> Guide:
    """The guide with the basis before, and a part of its own random one."""
    popular = direction(guide.popularity, guide.weights, guide.head)
    mixed = start[guide.head] + FRESH * guide.basis
    basis, _ = np.linalg.qr(without(popular, mixed))
    return replace(guide, basis=basis.astype(np.float32))


def _on_all(rows: NDArray[np.floating], guide: Guide) -> Floats:
    """Rows of the head as rows of all items."""
    full = np.zeros((len(guide.weights), rows.shape[1]))
    full[guide.head] = rows
    return full
