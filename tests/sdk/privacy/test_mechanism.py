"""A release has an exact cost and an exact stored form."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import InvalidInput
from tactful.privacy.mechanism import (
    Adjacency,
    GaussianRelease,
    Placement,
    Sampling,
    digest,
)

RELEASE = GaussianRelease(
    norm_bound=900, sigma2=Fraction(81, 2), family="rounded_gaussian", dimension=64
)


@pytest.mark.parametrize("scheme", [Sampling.DEVICE_COIN, Sampling.SHUFFLED])
def test_no_release_is_charged_less_because_of_sampling(scheme: Sampling) -> None:
    with pytest.raises(InvalidInput, match="sampling"):
        GaussianRelease(**{**vars(RELEASE), "sampling": scheme})


def test_only_discrete_noise_can_be_added_in_shares() -> None:
    with pytest.raises(InvalidInput, match="family"):
        GaussianRelease(**{**vars(RELEASE), "placement": Placement.DEVICES})


@given(
    bound=st.integers(1, 10**9),
    sigma2=st.fractions("1/1000", 10**9),
    adjacency=st.sampled_from(list(Adjacency)),
)
def test_a_release_equals_what_is_read_from_its_event(
    bound: int, sigma2: Fraction, adjacency: Adjacency
) -> None:
    release = GaussianRelease(
        norm_bound=bound,
        sigma2=sigma2,
        family="rounded_gaussian",
        dimension=9,
        adjacency=adjacency,
    )

    read = GaussianRelease.from_event(json.loads(json.dumps(release.event())))

    assert read == release
    assert digest(read.event()) == digest(release.event())


@pytest.mark.parametrize(
    "wrong",
    [
        {"sigma2": 0.5},
        {"sigma2": "-1/2"},
        {"sigma2": "1/0"},
        {"norm_bound": 1.0},
        {"norm_bound": True},
        {"adjacency": "add_remove"},
        {"family": "laplace"},
        {"colour": "red"},
    ],
)
def test_a_damaged_event_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=f"{next(iter(wrong))}"):
        GaussianRelease.from_event({**RELEASE.event(), **wrong})
