"""One training, round after round: what each noisy sum gives, and what leads the next."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning import holdout_test
from tactful.learning.item_features import Words
from tactful.learning.model import Model
from tactful.learning.popularity_estimate import cleaned, item_weights, largest
from tactful.learning.round_parameters import Guide, RoundParameters, guide_of
from tactful.learning.server import item_pairs, subspace
from tactful.learning.server.subspace import checked
from tactful.learning.training_plan import Plan, settled

Floats = NDArray[np.float64]


class NoisySum(NamedTuple):
    """The decoded sum of `people` persons' vectors, with noise `tau` on each entry.

    `seed` is public and new in each round.
    """

    noisy: Floats
    tau: float
    people: int
    seed: bytes


class Learned(NamedTuple):
    """The plan as it stands, and what leads the next round; after the last one, the model."""

    plan: Plan
    lead: RoundParameters


def learn(
    plan: Plan,
    number: int,
    lead: RoundParameters | None,
    here: NoisySum,
    words: Words | None = None,
) -> Learned:
    """What round `number` (from 0) has taught, after what led it.

    `words` describe the items of a catalog whose plan says so. Raises InvalidInput for a sum or a
    lead that does not fit the round.
    """
    checked(here.noisy, plan.length(number))
    kind = plan.kind(number)
    if kind == "popularity":
        return _counted(plan, number, lead, here)
    if isinstance(lead, Model) != (kind == "trial") or lead is None:
        raise InvalidInput(
            "guide", f"it does not lead a round of kind {kind}", "use the round's"
        )
    if isinstance(lead, Model):
        return Learned(plan, holdout_test.decided(here.noisy, here.tau, lead))
    if kind == "gram":
        told = words if plan.described else None
        return Learned(
            plan,
            item_pairs.model_of(here.noisy, here.tau, plan, lead, here.people, told),
        )
    if number + 1 < plan.rounds and plan.kind(number + 1) == "subspace":
        return Learned(plan, subspace.next_guide(here.noisy, lead))
    return Learned(plan, subspace.finish(here.noisy, here.tau, plan, lead, here.people))


def _counted(
    plan: Plan, number: int, lead: RoundParameters | None, here: NoisySum
) -> Learned:
    """After a count of items: the first settles the plan, a second is joined with it."""
    noisy, tau = here.noisy, here.tau
    if isinstance(lead, Guide):
        first, second = plan.shares[number - 1 : number + 1]
        noisy = (first * lead.popularity + second * noisy) / (first + second)
        tau *= math.sqrt(second / (first + second))
    popularity = cleaned(noisy, tau)
    if plan.kinds and lead is None:  # a plan made by hand stays as it is
        plan = settled(plan, popularity, float(noisy.sum()) / here.people)
    weights = item_weights(popularity, plan.gamma, plan.floor)
    if number == plan.rounds - 1:
        return Learned(
            plan, Model.of_popularity(popularity, weights, plan.popularity_share)
        )
    if plan.kind(number + 1) == "subspace":
        return Learned(plan, subspace.first_guide(noisy, tau, plan, here.seed))
    head = largest(popularity, plan.head)
    nothing = np.empty((len(head), 0))
    return Learned(plan, guide_of(popularity, weights, head, nothing, plan.buckets))
