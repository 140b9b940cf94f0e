"""Which amplification may be claimed, and everything else refused (design/privacy.md 2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from tactful.errors import InvalidInput
from tactful.privacy import pairs
from tactful.privacy.mechanism import Adjacency, Sampling


@dataclass(frozen=True, kw_only=True)
class SampledRounds:
    """Gaussian rounds on a part of the devices: how it was chosen, and from whom that is hidden.

    `mu2` is sensitivity^2 / sigma^2 of a full round under `adjacency`, `rate` the chance to take
    part. `aggregator_sees` is true wherever an aggregator receives the reports: then no sampling
    hides anything from it.
    """

    sampling: Sampling
    mu2: Fraction
    rate: Fraction
    rounds: int
    adjacency: Adjacency
    aggregator_sees: bool

    def epsilon(self, delta: float) -> float:
        """The epsilon at `delta`, by the privacy loss of the pair that this sampling realises.

        Raises InvalidInput for every claim that has no proof here.
        """
        if self.sampling == Sampling.ALL:
            raise _refusal("everybody took part, nothing is amplified", "use `claim`")
        if self.sampling == Sampling.SHUFFLED:
            raise _refusal(
                "a shuffle amplifies pure local randomizers only, and a secure sum is no shuffle",
                "account every round in full",
            )
        if self.aggregator_sees:
            raise _refusal(
                "an aggregator sees who takes part", "account every round in full"
            )
        mu, rate = float(self.mu2) ** 0.5, float(self.rate)
        if self.sampling == Sampling.FIXED_SIZE:
            _require(self.adjacency, Adjacency.REPLACE_ONE, "a batch of fixed size")
            return pairs.fixed_size_gaussian(mu, rate).epsilon(delta, self.rounds)
        _require(self.adjacency, Adjacency.ZERO_OUT, "a device's own coin")
        removed, added = pairs.sampled_gaussian(mu, rate)
        return max(loss.epsilon(delta, self.rounds) for loss in (removed, added))


def _require(found: Adjacency, needed: Adjacency, what: str) -> None:
    if found != needed:
        raise _refusal(f"{what} is not proved for {found}", f"account it as {needed}")


def _refusal(problem: str, fix: str) -> InvalidInput:
    return InvalidInput("sampling", problem, fix)
