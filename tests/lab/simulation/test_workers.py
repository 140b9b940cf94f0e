"""Workers return results in order and start work only when it is needed."""

import threading
from collections.abc import Iterator

import pytest

from tactful.errors import InvalidInput
from tactful_lab.simulation import workers as workers_module
from tactful_lab.simulation.workers import WAITING, in_order, workers


def test_results_are_in_order_even_if_the_first_part_ends_last() -> None:
    last_part_started = threading.Event()

    def work(part: int) -> int:
        if part == 0:
            assert last_part_started.wait(10)
        elif part == WAITING - 1:
            last_part_started.set()
        return part

    with workers("threads", WAITING) as executor:
        assert list(in_order(executor, work, range(50))) == list(range(50))


def test_parts_are_generated_only_when_they_are_needed() -> None:
    generated = []

    def parts() -> Iterator[int]:
        for part in range(1_000):
            generated.append(part)
            yield part

    with workers("threads", 2) as executor:
        results = in_order(executor, abs, parts())
        for _ in range(10):
            next(results)
        assert len(generated) <= 10 + WAITING


@pytest.mark.parametrize(
    ("kind", "count", "field"), [("magic", 2, "--on"), ("threads", 0, "--workers")]
)
def test_invalid_workers_are_refused_and_named(
    kind: str, count: int, field: str
) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}"), workers(kind, count):
        pass


def test_a_missing_cluster_library_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)

    with pytest.raises(InvalidInput, match="tactful-lab\\[ray\\]"):
        workers_module.RayExecutor(1)
