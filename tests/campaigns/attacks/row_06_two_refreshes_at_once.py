"""Two timers call `refresh` at once and hope that one round gets two tasks."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tactful.errors import TactfulError
from tactful.protocol.log.transcript import parse
from tactful.protocol.transport import Request
from tactful_aggregator.testing import RunningPair, running_pair
from tactful_aggregator.training.state import Training

TITLE = "Overlapping refreshes publish two tasks for one round"
CALLERS = 6


def attack(folder: Path) -> str | None:
    """Open the first round from several callers at once, and count the tasks of that round."""
    with running_pair(folder, min_batch_floor=4) as pair:
        pair.start(_training())
        with ThreadPoolExecutor(CALLERS) as callers:
            answers = [one for one in callers.map(_refreshed, [pair] * CALLERS) if one]
        published = _tasks(pair)
    if published > 1:
        return (
            f"{CALLERS} overlapping refreshes published {published} tasks for one round"
        )
    if any(answer != answers[0] for answer in answers):
        return f"{CALLERS} overlapping refreshes of one step had different answers: {answers}"
    return None


def _training() -> Training:
    return Training(
        model="films",
        catalog="c" * 64,
        items=40,
        users=10_000,
        epsilon=8.0,
        delta=1e-6,
        min_batch_size=4,
    )


def _refreshed(pair: RunningPair) -> Mapping[str, object] | None:
    try:
        return pair.refresh("films")
    except TactfulError:
        return None  # it came after the step: the round is open, and cannot be collected yet


def _tasks(pair: RunningPair) -> int:
    lines = pair.transport.send(
        Request("GET", f"{pair.leader.url}/transcript")
    ).body.decode()
    return sum(parse(line).kind == "task" for line in lines.splitlines())
