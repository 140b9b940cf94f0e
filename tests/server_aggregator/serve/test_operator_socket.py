"""The operator's way in: a socket that only its owner opens, with a token of its own."""

import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tactful.errors import InvalidInput, TransportError
from tactful.protocol.transport import HttpTransport, Request
from tactful_aggregator.serve import operator_socket
from tactful_aggregator.settings import PORT_FILE, SOCKET_FILE, Aggregator
from tactful_aggregator.testing import RunningAggregator, create_pair

ROUTES = [
    ("POST", "/operator/keys"),
    ("POST", "/operator/garbage"),
    ("POST", "/operator/trainings"),
    ("GET", "/operator/status"),
    ("POST", "/operator/jobs/resume"),
]


@pytest.fixture
def aggregators(tmp_path: Path) -> tuple[Aggregator, Aggregator]:
    return create_pair(tmp_path, min_batch_floor=4)


@pytest.fixture
def leader(aggregators: tuple[Aggregator, Aggregator]) -> Iterator[RunningAggregator]:
    running = RunningAggregator(aggregators[0])
    running.start()
    yield running
    running.stop()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_operator_is_heard_at_the_socket_and_nowhere_else(
    leader: RunningAggregator,
) -> None:
    """Whatever is shown, the public address knows no such route; after a kill it starts again."""
    assert (
        json.loads(
            operator_socket.request(leader.aggregator, "GET", "/operator/status").body
        )
        == []
    )
    assert mode(leader.aggregator.folder / SOCKET_FILE) == 0o600
    keys = leader.aggregator.keys
    for method, path in ROUTES:
        for token in (keys.token, keys.admin_token, keys.collector_token):
            headers = {"Authorization": f"Bearer {token}"}
            answer = HttpTransport().send(
                Request(method, leader.url + path, b"", headers)
            )
            assert (path, answer.status) == (path, 404)

    with pytest.raises(InvalidInput, match="another process serves"):
        operator_socket.listen(leader.aggregator.folder)
    leader.restart(signal.SIGKILL)
    assert operator_socket.request(leader.aggregator, "POST", "/operator/keys").ok


@pytest.mark.parametrize("name", ["token", "collector_token"])
def test_the_socket_asks_for_the_operators_own_token(
    leader: RunningAggregator, name: str
) -> None:
    aggregator, keys = leader.aggregator, leader.aggregator.keys
    shown = type(keys)(**{**vars(keys), "admin_token": getattr(keys, name)})

    answer = operator_socket.request(
        Aggregator(
            aggregator.folder, aggregator.settings, shown, aggregator.other_pairing
        ),
        "GET",
        "/operator/status",
    )

    assert answer.status == 401


def test_where_a_path_is_too_long_a_port_on_loopback_is_used(
    aggregators: tuple[Aggregator, Aggregator], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = aggregators[0].folder
    monkeypatch.setattr(operator_socket, "MAX_SOCKET_PATH", 0)

    with operator_socket.listen(folder) as listening:
        assert listening.family == socket.AF_INET
        assert listening.getsockname()[0] == "127.0.0.1"
        said = json.loads((folder / PORT_FILE).read_text())
        assert said == {"port": listening.getsockname()[1]}
    assert mode(folder / PORT_FILE) == 0o600
    with pytest.raises(TransportError, match=f"no process serves {folder}"):
        operator_socket.request(aggregators[0], "GET", "/operator/status")

    monkeypatch.undo()
    with operator_socket.listen(folder) as listening:
        assert listening.family == socket.AF_UNIX
    assert not (folder / PORT_FILE).exists()


def test_the_socket_is_private_whatever_the_umask(
    aggregators: tuple[Aggregator, Aggregator],
) -> None:
    before = os.umask(0)
    try:
        operator_socket.listen(aggregators[0].folder).close()
        assert os.umask(0) == 0
    finally:
        os.umask(before)

    assert mode(aggregators[0].folder / SOCKET_FILE) == 0o600


def test_a_half_that_does_not_run_is_named(
    aggregators: tuple[Aggregator, Aggregator],
) -> None:
    with pytest.raises(
        TransportError, match=r"no process serves .*tactful-aggregator serve"
    ):
        operator_socket.request(aggregators[0], "GET", "/operator/status")
