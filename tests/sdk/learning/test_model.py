"""A model scores on the device: a gather and a sum, and popularity where it knows nothing."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning.model import Model

N, HEAD, RANK = 50, 20, 3


def model_of(
    n: int = N, head: int = HEAD, rank: int = RANK, neighbours: int = 4
) -> Model:
    generator = np.random.default_rng(4)
    return Model(
        popularity=generator.gamma(1, 10, n).astype(np.float32) + np.float32(0.1),
        weights=generator.uniform(0.5, 2, n).astype(np.float32),
        head=np.sort(generator.permutation(n)[:head]).astype(np.int32),
        basis=np.linalg.qr(generator.standard_normal((head, rank)))[0].astype(
            np.float32
        ),
        scale=np.linspace(1, 0.2, rank).astype(np.float32),
        popularity_share=0.2,
        gain=generator.uniform(0.5, 1.5, head).astype(np.float32),
        neighbours=generator.permuted(np.tile(np.arange(head), (head, 1)), axis=1)[
            :, :neighbours
        ].astype(np.int32),
        closeness=generator.standard_normal((head, min(neighbours, head))).astype(
            np.float32
        ),
    )


histories = st.lists(st.integers(0, N - 1), max_size=30, unique=True).map(
    lambda items: np.array(items, dtype=np.int64)
)


def by_the_formula(model: Model, items: NDArray[np.int64]) -> NDArray[np.float64]:
    w, h = model.weights.astype(float), model.popularity.astype(float)
    x = np.zeros(len(w))
    x[items] = 1
    z = (w * x)[model.head]
    z = z / (np.linalg.norm(z) or 1)
    taste = np.zeros(len(w))
    pairs = model.basis * model.scale @ model.basis.T * model.gain
    for row, places in enumerate(model.neighbours):
        pairs[row, places] += model.closeness[row]
    taste[model.head] = z @ pairs
    return (0.2 * w * h / np.linalg.norm(w * h) + taste) / w


@given(items=histories)
def test_the_personal_score_is_the_formula_of_the_design(
    items: NDArray[np.int64],
) -> None:
    model = model_of()

    assert np.allclose(model.personal(items), by_the_formula(model, items), atol=1e-5)


def test_a_person_without_history_gets_the_standard_score() -> None:
    model = model_of()
    outside = np.setdiff1d(np.arange(N), model.head)

    assert np.array_equal(
        model.personal(np.array([], dtype=np.int64)), model.standard()
    )
    assert np.array_equal(model.personal(outside), model.standard())


@given(items=histories)
def test_an_item_outside_the_head_keeps_its_standard_score(
    items: NDArray[np.int64],
) -> None:
    model = model_of()
    outside = np.setdiff1d(np.arange(N), model.head)

    assert np.array_equal(model.personal(items)[outside], model.standard()[outside])


def test_the_standard_score_ranks_by_popularity() -> None:
    model = model_of()

    assert np.array_equal(np.argsort(model.standard()), np.argsort(model.popularity))


def test_weights_tell_how_strongly_an_item_is_liked() -> None:
    model = model_of()
    items = model.head[:2].astype(np.int64)

    equal = model.personal(items, np.array([2.0, 2.0]))
    first = model.personal(items, np.array([1.0, 0.0]))

    assert np.allclose(equal, model.personal(items))
    assert np.allclose(first, model.personal(items[:1]))


def test_a_model_survives_being_written_and_read() -> None:
    model, person = model_of(), np.array([1, 5, 9])

    again = Model.from_arrays(model.arrays())

    assert np.array_equal(model.personal(person), again.personal(person))
    assert again.kind == "personal"


def test_scores_handed_out_are_the_callers_own() -> None:
    model = model_of()

    model.standard()[:] = 0

    assert model.standard().any()


DAMAGES = {
    "popularity": lambda array: -array,
    "weights": lambda array: array * np.nan,
    "head": lambda array: array + N,
    "basis": lambda array: array[1:],
    "scale": lambda array: array[1:],
    "mix": lambda array: array[1:],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_or_missing_array_is_refused(name: str) -> None:
    arrays = model_of().arrays()
    damaged = {**arrays, name: DAMAGES[name](arrays[name])}
    missing = {key: array for key, array in arrays.items() if key != name}

    for broken in (damaged, missing):
        with pytest.raises(InvalidInput, match="model"):
            Model.from_arrays(broken)


def test_a_head_that_names_an_item_twice_is_refused() -> None:
    arrays = model_of().arrays()

    with pytest.raises(InvalidInput, match="model"):
        Model.from_arrays({**arrays, "head": np.full(HEAD, 3, dtype=np.int32)})


def test_an_item_outside_the_catalog_is_refused() -> None:
    for wrong in (-1, N):
        with pytest.raises(InvalidInput, match="items"):
            model_of().personal(np.array([wrong]))


def test_a_model_of_popularity_has_no_personal_part() -> None:
    model = model_of().popular()

    assert model.kind == "popularity"
    assert np.array_equal(model.personal(np.array([1])), model.standard())
    assert Model.from_arrays(model.arrays()).kind == "popularity"


def test_scoring_ten_thousand_items_is_no_wait() -> None:
    """Ten times the design's budget of 0.1 ms, so that a busy machine passes."""
    model, person = model_of(10_000, 2_000, 48), np.arange(0, 2_000, 20)
    model.personal(person)

    seconds = []
    for _ in range(30):
        started = time.perf_counter()
        model.personal(person)
        seconds.append(time.perf_counter() - started)

    assert min(seconds) < 0.001
