"""The rounds of one training: each noisy sum gives the parameters of the next round."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning import holdout_test
from tactful.learning.item_features import Words
from tactful.learning.model import Model
from tactful.learning.round_parameters import Guide, RoundParameters, guide_of
from tactful_aggregator.learning import item_pairs, subspace
from tactful_aggregator.learning.popularity_estimate import (
    cleaned,
    item_weights,
    largest,
)
from tactful_aggregator.learning.subspace import checked
from tactful_aggregator.learning.training_plan import Plan, settled

Floats = NDArray[np.float64]


class NoisySum(NamedTuple):
    """The decoded sum of `people` persons' vectors with noise `tau` on each entry.

    `seed` is public and new in each round.
    """

    noisy: Floats
    tau: float
    people: int
    seed: bytes


class Learned(NamedTuple):
    """The plan, and the parameters of the next round; after the last one, the model."""

    plan: Plan
    lead: RoundParameters


def learn(
    plan: Plan,
    number: int,
    lead: RoundParameters | None,
    here: NoisySum,
    words: Words | None = None,
) -> Learned:
    """Return what round `number` (from 0) gives; `lead` has its own parameters.

    `words` describe the items, if the plan uses them. Raise InvalidInput for a sum or
    parameters that do not fit the round.
    """
    checked(here.noisy, plan.length(number))
    kind = plan.kind(number)
    if kind == "popularity":
        return _after_popularity(plan, number, lead, here)
    if isinstance(lead, Model) != (kind == "trial") or lead is None:
        raise InvalidInput(
            "guide", f"it is not of a round of kind {kind}", "use the round's own"
        )
    if isinstance(lead, Model):
        return Learned(plan, holdout_test.decided(here.noisy, here.tau, lead))
    if kind == "gram":
        item_words = words if plan.described else None
        model = item_pairs.model_of(
            here.noisy, here.tau, plan, lead, here.people, item_words
        )
        return Learned(plan, model)
    if number + 1 < plan.rounds and plan.kind(number + 1) == "subspace":
        return Learned(plan, subspace.next_guide(here.noisy, lead))
    return Learned(plan, subspace.finish(here.noisy, here.tau, plan, lead, here.people))


def _after_popularity(
    plan: Plan, number: int, lead: RoundParameters | None, here: NoisySum
) -> Learned:
    """Return the result of a count of items.

    The first count settles the plan; a second one is averaged with it.
    """
    noisy, tau = here.noisy, here.tau
    if isinstance(lead, Guide):
        first, second = plan.shares[number - 1 : number + 1]
        noisy = (first * lead.popularity + second * noisy) / (first + second)
        tau *= math.sqrt(second / (first + second))
    popularity = cleaned(noisy, tau)
    # A plan without kinds was made by hand and stays as it is.
    if plan.kinds and lead is None:
        plan = settled(plan, popularity, float(noisy.sum()) / here.people)
    weights = item_weights(popularity, plan.gamma, plan.floor)
    if number == plan.rounds - 1:
        model = Model.of_popularity(popularity, weights, plan.popularity_share)
        return Learned(plan, model)
    if plan.kind(number + 1) == "subspace":
        return Learned(plan, subspace.first_guide(noisy, tau, plan, here.seed))
    head = largest(popularity, plan.head)
    no_basis = np.empty((len(head), 0))
    return Learned(plan, guide_of(popularity, weights, head, no_basis, plan.buckets))
