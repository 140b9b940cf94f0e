"""Many simulated people in one process, each computing exactly what a device computes.

The coins and the noise come from a generator that is handed in: simulated people have no
secrets. Nothing here is imported by the app or by the aggregators.
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
from tactful.learning.server.rounds import NoisySum, learn
from tactful.learning.training_plan import (
    FACTOR_ONCE,
    FACTOR_PAIR,
    Kind,
    Plan,
    choose_plan,
    popularity_plan,
)
from tactful.privacy.accountant import PrivacyClaim, claim, mu_for, sigma2_for
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.privacy.mechanism import Adjacency, Family, GaussianRelease
from tactful.privacy.rounding import Coins
from tactful.protocol.dap.messages import report_bytes
from tactful.protocol.dap.vdaf_config import VdafConfig, sum_vec_field64_for
from tactful.protocol.dap.versions import DAP_18
from tactful.protocol.vector_encoding import Encoding, Levels
from tactful.vdaf.instances import LEAST_PROOFS
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.simulation.cohorts import (
    Cohort,
    cohorts,
    float_sum,
    rounding,
    sample,
    whole_sum,
)
from tactful_lab.simulation.workers import in_order

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Noise = Literal["once", "pair"]
Fidelity = Literal["exact", "float"]

FACTORS: dict[Noise, float] = {"once": FACTOR_ONCE, "pair": FACTOR_PAIR}
CHUNK = 128  # people whose measurements are in memory at a time
WIDE = 1_024  # people whose rows on the head are in memory at a time
LEVELS, BOX = 14, 3


@dataclass(frozen=True)
class RoundInfo:
    """What one round was: its encoding, the noise each half adds, and what a device uploads.

    `tau` is the standard deviation of the sum's noise per coordinate, for vectors of length 1.
    """

    kind: Kind
    share: float
    encoding: Encoding
    release: GaussianRelease
    tau: float
    guide: RoundParameters | None = None

    @property
    def vdaf_config(self) -> VdafConfig:
        """What proves that every entry is in its range."""
        return sum_vec_field64_for(
            self.encoding.padded, self.encoding.levels, LEAST_PROOFS
        )

    @property
    def upload_bytes(self) -> int:
        """The size of one report: shares, proofs, seals."""
        return report_bytes(self.vdaf_config.vdaf(DAP_18.vdaf), DAP_18)


@dataclass(frozen=True)
class Training:
    """What a training gives: the model, the claim for one honest half, and its rounds."""

    model: Model
    claim: PrivacyClaim
    plan: Plan
    rounds: tuple[RoundInfo, ...]


@dataclass(frozen=True, eq=False)
class Population:
    """The people of `dataset` with these numbers."""

    dataset: Dataset
    users: Ints

    def __len__(self) -> int:
        return len(self.users)

    def measurements(
        self, kind: str, encoding: Encoding, guide: RoundParameters | None, coins: Coins
    ) -> Iterator[Levels]:
        """Everyone's measurement for one round, in order, some people at a time."""
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
        """The exact sum of everyone's measurements, shape (padded,).

        Each chunk has coins of its own, seeded by `coins`, so the workers change no bit.
        """
        work = partial(_whole_part, kind, guide, encoding)
        seeded = (
            (cohort, coins(16)) for cohort in cohorts(self.dataset, self.users, CHUNK)
        )
        total = np.zeros(encoding.padded, dtype=np.int64)
        for part in in_order(executor, work, seeded):
            total += part
        return total

    def float_total(
        self,
        kind: str,
        encoding: Encoding,
        guide: RoundParameters | None,
        executor: Executor | None = None,
    ) -> Floats:
        """The sum of everyone's vectors before they are encoded, shape (entries,)."""
        total = np.zeros(encoding.length)
        parts = cohorts(self.dataset, self.users, WIDE)
        for part in in_order(executor, partial(_float_part, kind, guide), parts):
            total += part
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
        """Run all rounds; `noise` is added once, or by both halves as the pair releases it.

        The claim counts one half's noise either way. `plan` is chosen by the rule if
        None, `most` bounds what a device uploads then.
        Sums of `fidelity` "float" have rounding as noise of the same variance, and are no proof
        of what devices send; the parts of a sum go to `executor`, which changes no figure.
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
        seed, lead = generator.bytes(32), None
        rounds: list[RoundInfo] = []
        while len(rounds) < plan.rounds:
            number = len(rounds)
            here = planned_round(plan, number, mu, noise, family, seed)
            here = replace(here, guide=None if here.kind == "popularity" else lead)
            progress(
                f"round {number + 1}/{plan.rounds}: {len(self)} x {here.encoding.length}"
            )
            noisy = self.noisy_sum(
                here, here.guide, noise, generator, fidelity, executor
            )
            rounds.append(here)
            released = NoisySum(noisy, here.tau, len(self), seed)
            plan, lead = learn(plan, number, lead, released, words)
        promised = claim([one.release for one in rounds], delta)
        return Training(model_of(lead), promised, plan, tuple(rounds))

    def dp_popularity(
        self,
        epsilon: float,
        delta: float,
        *,
        noise: Noise,
        generator: np.random.Generator,
        fidelity: Fidelity = "exact",
    ) -> Training:
        """Popularity alone with the whole budget."""
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
        here: RoundInfo,
        guide: RoundParameters | None,
        noise: Noise,
        generator: np.random.Generator,
        fidelity: Fidelity = "exact",
        executor: Executor | None = None,
    ) -> Floats:
        """The sum as it is released: whole numbers until it is decoded, or floats."""
        if fidelity == "float":
            total = np.zeros(here.encoding.padded, dtype=np.int64)
        else:
            total = self.total(
                here.kind, here.encoding, guide, generator.bytes, executor
            )
        table = NoiseTable.of(here.release.family, here.release.sigma2)
        for _ in range(halves(noise)):
            total += table.sample(here.encoding.padded, generator.bytes)
        if fidelity == "exact":
            return here.encoding.decode(total, len(self))
        rounded = self._rounded(here, guide, generator, executor)
        return rounded + here.encoding.decode(total, 0)

    def _rounded(
        self,
        here: RoundInfo,
        guide: RoundParameters | None,
        generator: np.random.Generator,
        executor: Executor | None,
    ) -> Floats:
        """The sum of vectors with the error of encoding as noise, measured on some people."""
        some = sample(self.users, here.encoding.padded)
        vectors = Cohort.of(self.dataset, some).vectors(here.kind, guide)
        error = rounding(here.encoding, vectors, generator.bytes)
        total = self.float_total(here.kind, here.encoding, guide, executor)
        spread = math.sqrt(len(self) * error.variance)
        rounded: Floats = error.scale * total + spread * generator.standard_normal(
            len(total)
        )
        return rounded


def _whole_part(
    kind: str,
    guide: RoundParameters | None,
    encoding: Encoding,
    seeded: tuple[Cohort, bytes],
) -> Ints:
    return whole_sum(kind, seeded[0], guide, encoding, seeded[1])


def _float_part(kind: str, guide: RoundParameters | None, cohort: Cohort) -> Floats:
    return float_sum(kind, cohort, guide)


def halves(noise: Noise) -> int:
    """How many times the noise of one half is in the sum."""
    return 2 if noise == "pair" else 1


def planned_round(
    plan: Plan, number: int, mu: float, noise: Noise, family: Family, seed: bytes
) -> RoundInfo:
    """Round `number` of a training with budget `mu`; `seed` is public and rotates its vectors."""
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
    return RoundInfo(
        kind=plan.kind(number),
        share=plan.shares[number],
        encoding=encoding,
        release=release,
        tau=_tau(halves(noise) * sigma2, encoding),
    )


def _tau(sigma2: Fraction, encoding: Encoding) -> float:
    return math.sqrt(sigma2) / encoding.levels_per_unit


def model_of(lead: RoundParameters | None) -> Model:
    """The model that a training ends with."""
    if not isinstance(lead, Model):
        raise TypeError("the last round gives a model")
    return lead
