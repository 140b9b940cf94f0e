"""Every error of the tree says in another process what it says here."""

import copy

import pytest

from tactful import errors
from tactful.errors import ConsentMissing, InvalidInput, ReportRejected, TactfulError

MADE = [
    InvalidInput("n", "-1 is no number", "use 0 or more"),
    errors.DatasetError("lines", "it is cut", "load it again"),
    ConsentMissing("local_profile", "USER"),
    ReportRejected("reportRejected", "it was counted before"),
    *(
        getattr(errors, name)("a sentence")
        for name in errors.__all__
        if getattr(errors, name).__init__ is TactfulError.__init__
    ),
]


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_an_error_comes_out_of_a_worker_as_it_went_in(error: TactfulError) -> None:
    again = copy.copy(error)  # by the same protocol as pickle

    assert (type(again), str(again), vars(again)) == (
        type(error),
        str(error),
        vars(error),
    )


def test_no_error_is_forgotten() -> None:
    assert {type(error).__name__ for error in MADE} == set(errors.__all__)
