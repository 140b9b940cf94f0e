"""Simulated people in one process; each computes exactly what a device computes.

Coins and noise come from a generator that the caller passes: simulated people have no
secrets. Neither the SDK nor the aggregators import this module.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tactful.learning.model import Model
from tactful.learning.round_parameters import RoundParameters
from tactful.privacy.accountant import PrivacyClaim, claim, mu_for, sigma2_for
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.privacy.mechanism import Adjacency, Family, GaussianRelease
from tactful.privacy.rounding import Coins
from tactful.protocol.dap.messages import report_bytes
from tactful.protocol.dap.vdaf_config import VdafConfig, sum_vec_field64_for
from tactful.protocol.dap.versions import DAP_18
from tactful.protocol.vector_encoding import Encoding, Levels
from tactful.vdaf.instances import LEAST_PROOFS
from tactful_aggregator.learning.rounds import NoisySum, learn
from tactful_aggregator.learning.training_plan import (
    FACTOR_ONCE,
    FACTOR_PAIR,
    Kind,
    Plan,
    choose_plan,
    popularity_plan,
)
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.simulation.cohorts import (
    Cohort,
    cohorts,
    exact_sum,
    float_sum,
    rounding_error,
    sample,
)
from tactful_lab.simulation.workers import in_order

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Noise = Literal["once", "pair"]
Fidelity = Literal["exact", "float"]

FACTORS: dict[Noise, float] = {"once": FACTOR_ONCE, "pair": FACTOR_PAIR}
CHUNK = 128  # people whose measurements are in memory at a time
FLOAT_CHUNK = 1_024  # people whose rows on the head are in memory at a time
LEVELS, BOX = 14, 3


@dataclass(frozen=True)
class SimulatedRound:
    """One round: its encoding, the noise that each aggregator adds, and its upload.

    `tau` is the standard deviation of the noise of the sum per coordinate, for vectors
    of length 1.
    """

    kind: Kind
    share: float
    encoding: Encoding
    release: GaussianRelease
    tau: float
    guide: RoundParameters | None = None

    @property
    def vdaf_config(self) -> VdafConfig:
        """The VDAF that proves that each entry is in its range."""
        return sum_vec_field64_for(
            self.encoding.padded, self.encoding.levels, LEAST_PROOFS
        )

    @property
    def upload_bytes(self) -> int:
        """The size of one report in bytes, with shares, proofs and encryption."""
        return report_bytes(self.vdaf_config.vdaf(DAP_18.vdaf), DAP_18)


@dataclass(frozen=True)
class Training:
    """The result of a training: its model, plan and rounds.

    `claim` holds if at least one aggregator is honest.
    """

    model: Model
    claim: PrivacyClaim
    plan: Plan
    rounds: tuple[SimulatedRound, ...]


@dataclass(frozen=True, eq=False)
class Population:
    """The people of `dataset` with the numbers `users`."""

    dataset: Dataset
    users: Ints

    def __len__(self) -> int:
        """Return the number of people."""
        return len(self.users)

    def measurements(
        self, kind: str, encoding: Encoding, guide: RoundParameters | None, coins: Coins
    ) -> Iterator[Levels]:
        """Yield everyone's measurements for one round, in order, `CHUNK` at a time."""
        for cohort in cohorts(self.dataset, self.users, CHUNK):
            yield encoding.encode(cohort.vectors(kind, guide), coins)

    def total(
        self,
        kind: str,
        encoding: Encoding,
        guide: RoundParameters | None,
        coins: Coins,
        executor: Executor | None = None,
    ) -> Ints:
        """Return the exact sum of everyone's measurements, shape (padded,)."""
        sum_chunk = partial(_exact_sum_of_chunk, kind, guide, encoding)
        # Each chunk has its own seed, so that the result does not depend on the number
        # of workers.
        chunks = (
            (cohort, coins(16)) for cohort in cohorts(self.dataset, self.users, CHUNK)
        )
        total = np.zeros(encoding.padded, dtype=np.int64)
        for chunk_sum in in_order(executor, sum_chunk, chunks):
            total += chunk_sum
        return total

    def float_total(
        self,
        kind: str,
        encoding: Encoding,
        guide: RoundParameters | None,
        executor: Executor | None = None,
    ) -> Floats:
        """Return the sum of everyone's vectors before encoding, shape (entries,)."""
        sum_chunk = partial(_float_sum_of_chunk, kind, guide)
        chunks = cohorts(self.dataset, self.users, FLOAT_CHUNK)
        total = np.zeros(encoding.length)
        for chunk_sum in in_order(executor, sum_chunk, chunks):
            total += chunk_sum
        return total

    def train(
        self,
        epsilon: float,
        delta: float,
        *,
        noise: Noise,
        generator: np.random.Generator,
        plan: Plan | None = None,
        family: Family = "rounded_gaussian",
        fidelity: Fidelity = "exact",
        executor: Executor | None = None,
        most: int | None = None,
        progress: Callable[[str], None] = lambda line: None,
    ) -> Training:
        """Run all rounds of a training and return its model.

        `noise` is added "once", or by both aggregators ("pair"), as in production. The
        claim counts the noise of one aggregator in both cases. If `plan` is None, the
        plan is chosen for the number of people, and `most` limits the numbers that a
        device uploads. With `fidelity` "float", rounding is simulated as noise of the
        same variance; such sums are no proof of what devices send. `executor` computes
        chunks of a sum, which changes no figure.
        """
        mu, words = mu_for(epsilon, delta), self.dataset.words
        plan = plan or choose_plan(
            self.dataset.items,
            len(self),
            mu,
            FACTORS[noise],
            described=words is not None,
            most=most,
        )
        seed, parameters = generator.bytes(32), None
        rounds: list[SimulatedRound] = []
        # A round may change the plan, so the number of rounds is read each time.
        while len(rounds) < plan.rounds:
            number = len(rounds)
            planned = planned_round(plan, number, mu, noise, family, seed)
            guide = None if planned.kind == "popularity" else parameters
            current = replace(planned, guide=guide)
            progress(
                f"round {number + 1}/{plan.rounds}: "
                f"{len(self)} devices x {current.encoding.length} numbers"
            )
            noisy = self.noisy_sum(current, guide, noise, generator, fidelity, executor)
            rounds.append(current)
            released = NoisySum(noisy, current.tau, len(self), seed)
            plan, parameters = learn(plan, number, parameters, released, words)
        training_claim = claim([completed.release for completed in rounds], delta)
        return Training(final_model(parameters), training_claim, plan, tuple(rounds))

    def dp_popularity(
        self,
        epsilon: float,
        delta: float,
        *,
        noise: Noise,
        generator: np.random.Generator,
        fidelity: Fidelity = "exact",
    ) -> Training:
        """Train popularity only, with the whole budget."""
        plan = popularity_plan(self.dataset.items)
        return self.train(
            epsilon,
            delta,
            noise=noise,
            generator=generator,
            plan=plan,
            fidelity=fidelity,
        )

    def noisy_sum(
        self,
        current: SimulatedRound,
        guide: RoundParameters | None,
        noise: Noise,
        generator: np.random.Generator,
        fidelity: Fidelity = "exact",
        executor: Executor | None = None,
    ) -> Floats:
        """Return the released sum of one round, decoded, shape (entries,)."""
        encoding, release = current.encoding, current.release
        if fidelity == "float":
            total = np.zeros(encoding.padded, dtype=np.int64)
        else:
            total = self.total(current.kind, encoding, guide, generator.bytes, executor)
        table = NoiseTable.of(release.family, release.sigma2)
        for _ in range(noise_count(noise)):
            total += table.sample(encoding.padded, generator.bytes)
        if fidelity == "exact":
            return encoding.decode(total, len(self))
        # `total` has the noise alone: it is decoded as a sum of 0 people.
        rounded = self._float_total_with_rounding(current, guide, generator, executor)
        return rounded + encoding.decode(total, 0)

    def _float_total_with_rounding(
        self,
        current: SimulatedRound,
        guide: RoundParameters | None,
        generator: np.random.Generator,
        executor: Executor | None,
    ) -> Floats:
        """Return the float sum with the rounding error simulated as noise.

        The error is measured on a sample of people.
        """
        encoding = current.encoding
        sampled = sample(self.users, encoding.padded)
        vectors = Cohort.of(self.dataset, sampled).vectors(current.kind, guide)
        error = rounding_error(encoding, vectors, generator.bytes)
        total = self.float_total(current.kind, encoding, guide, executor)
        deviation = math.sqrt(len(self) * error.variance)
        noise = deviation * generator.standard_normal(len(total))
        rounded: Floats = error.scale * total + noise
        return rounded


def _exact_sum_of_chunk(
    kind: str,
    guide: RoundParameters | None,
    encoding: Encoding,
    chunk: tuple[Cohort, bytes],
) -> Ints:
    cohort, seed = chunk
    return exact_sum(kind, cohort, guide, encoding, seed)


def _float_sum_of_chunk(
    kind: str, guide: RoundParameters | None, cohort: Cohort
) -> Floats:
    return float_sum(kind, cohort, guide)


def noise_count(noise: Noise) -> int:
    """Return how many times the noise of one aggregator is in the sum."""
    return 2 if noise == "pair" else 1


def planned_round(
    plan: Plan, number: int, mu: float, noise: Noise, family: Family, seed: bytes
) -> SimulatedRound:
    """Return round `number` of a training with budget `mu`.

    `seed` is public and determines the rotation of the vectors.
    """
    task_id = hashlib.sha256(seed + number.to_bytes(4, "big")).digest()
    encoding = Encoding(plan.length(number), LEVELS, BOX, task_id)
    sigma2 = sigma2_for(encoding.norm_bound, mu, plan.shares[number])
    release = GaussianRelease(
        norm_bound=encoding.norm_bound,
        sigma2=sigma2,
        family=family,
        dimension=encoding.padded,
        adjacency=Adjacency.ZERO_OUT,
        gamma2=encoding.gamma2,
    )
    return SimulatedRound(
        kind=plan.kind(number),
        share=plan.shares[number],
        encoding=encoding,
        release=release,
        tau=_tau(noise_count(noise) * sigma2, encoding),
    )


def _tau(sigma2: Fraction, encoding: Encoding) -> float:
    return math.sqrt(sigma2) / encoding.levels_per_unit


def final_model(parameters: RoundParameters | None) -> Model:
    """Return the result of the last round as a model; raise TypeError if it is none."""
    if not isinstance(parameters, Model):
        raise TypeError("the last round did not return a model")
    return parameters
