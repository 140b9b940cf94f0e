"""Amplification by sampling: the claims that are proved; all others are refused.

Source: docs/spec/privacy.md 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tactful.errors import InvalidInput
from tactful.privacy import pairs
from tactful.privacy.mechanism import Adjacency, Sampling


@dataclass(frozen=True, kw_only=True)
class SampledRounds:
    """Gaussian rounds in which only a part of the devices takes part.

    `mu2` is sensitivity^2 / sigma^2 of a full round under `adjacency`, `rate` the
    chance to take part. `aggregator_sees` is True if an aggregator receives the
    reports: it then knows who takes part, and sampling hides nothing from it.
    """

    sampling: Sampling
    mu2: Fraction
    rate: Fraction
    rounds: int
    adjacency: Adjacency
    aggregator_sees: bool

    def epsilon(self, delta: float) -> float:
        """Return the epsilon at `delta` of the worst pair of this sampling scheme.

        Raise InvalidInput for every claim that has no proof here.
        """
        self._require_proof()
        mu, rate = float(self.mu2) ** 0.5, float(self.rate)
        if self.sampling == Sampling.FIXED_SIZE:
            return pairs.fixed_size_gaussian(mu, rate).epsilon(delta, self.rounds)
        removed, added = pairs.sampled_gaussian(mu, rate)
        return max(loss.epsilon(delta, self.rounds) for loss in (removed, added))

    def _require_proof(self) -> None:
        if self.sampling == Sampling.ALL:
            raise _unproved(
                "every device takes part, so nothing is amplified",
                "use `accountant.claim`",
            )
        if self.sampling == Sampling.SHUFFLED:
            raise _unproved(
                "shuffling amplifies pure local randomizers only, and a secure sum is "
                "not a shuffle",
                "account every round in full",
            )
        if self.aggregator_sees:
            raise _unproved(
                "an aggregator sees who takes part", "account every round in full"
            )
        if self.sampling == Sampling.FIXED_SIZE:
            self._require_adjacency(Adjacency.REPLACE_ONE, "fixed-size sampling")
        else:
            self._require_adjacency(Adjacency.ZERO_OUT, "Poisson sampling")

    def _require_adjacency(self, proved: Adjacency, scheme: str) -> None:
        if self.adjacency != proved:
            raise _unproved(
                f"{scheme} is not proved for {self.adjacency}",
                f"account it as {proved}",
            )


def _unproved(problem: str, fix: str) -> InvalidInput:
    return InvalidInput("sampling", problem, fix)
