"""The replay of hostile vectors is deterministic and refuses what is not finite."""

from pathlib import Path

import pytest

from tactful.protocol.documents.evidence import Neighbour, NeighbourReplay
from tactful_lab.evidence.mechanism_replay import replay_encoding
from tactful_lab.evidence.staging import staging_pair


@pytest.fixture(scope="module")
def replays(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[NeighbourReplay, NeighbourReplay]:
    folder: Path = tmp_path_factory.mktemp("staging")
    with staging_pair(folder) as pair:
        task = pair.task("replay", 1000, 3.0, 1e-6)
    return replay_encoding(task), replay_encoding(task)


def _by_name(replay: NeighbourReplay) -> dict[str, Neighbour]:
    return {neighbour.name: neighbour for neighbour in replay.neighbours}


def test_replaying_the_same_task_gives_the_same_result(
    replays: tuple[NeighbourReplay, NeighbourReplay],
) -> None:
    first, second = replays

    assert first == second


def test_only_vectors_that_are_not_finite_are_refused(
    replays: tuple[NeighbourReplay, NeighbourReplay],
) -> None:
    neighbours = _by_name(replays[0])

    refused = {name for name, neighbour in neighbours.items() if neighbour.refused}

    assert refused == {"nan", "infinite"}


def test_the_empty_vector_has_distance_0_and_traced_calls(
    replays: tuple[NeighbourReplay, NeighbourReplay],
) -> None:
    empty = _by_name(replays[0])["empty"]

    assert empty.distance2 == 0
    assert empty.calls
