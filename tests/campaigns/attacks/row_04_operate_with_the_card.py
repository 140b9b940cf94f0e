"""The helper's operator shows what the leader's card holds, to operate the leader."""

import json
from pathlib import Path

from tactful.protocol.transport import HttpTransport, Method, Request
from tactful_aggregator.settings import KEYS_FILE, OTHER_PAIRING_FILE, PAIRING_FILE
from tactful_aggregator.testing import RunningPair, running_pair

TITLE = "The other operator's card opens the leader"
TRAINING = {
    "model": "films",
    "catalog": "c" * 64,
    "items": 40,
    "users": 10_000,
    "epsilon": 8.0,
    "delta": 1e-6,
    "min_batch_size": 4,
}
JOB = "/tasks/" + "A" * 43 + "/collection_jobs/" + "A" * 22
ASKED: list[tuple[Method, str, bytes]] = [
    ("POST", "/operator/trainings", json.dumps(TRAINING).encode()),
    ("POST", "/operator/trainings/films/refresh", b""),
    ("POST", "/operator/trainings/films/abandon", b""),
    ("POST", "/operator/keys", b""),
    ("POST", "/operator/garbage", b""),
    ("POST", "/operator/jobs/resume", b""),
    ("GET", "/operator/status", b""),
    ("GET", JOB, b""),
]


def attack(folder: Path) -> str | None:
    """Show every text that the helper's folder holds to every address of the leader."""
    with running_pair(folder, min_batch_floor=4) as pair:
        shown = {"", *_texts(pair.leader.aggregator.folder / PAIRING_FILE)}
        for name in (OTHER_PAIRING_FILE, PAIRING_FILE, KEYS_FILE):
            shown.update(_texts(pair.helper.aggregator.folder / name))
        obtained = [
            f"{method} {path}"
            for method, path, body in ASKED
            if any(_let_in(pair, method, path, body, token) for token in sorted(shown))
        ]
    return (
        f"with what the helper holds, the leader obeyed {obtained}"
        if obtained
        else None
    )


def _texts(path: Path) -> set[str]:
    return {
        value
        for value in json.loads(path.read_text()).values()
        if isinstance(value, str)
    }


def _let_in(
    pair: RunningPair, method: Method, path: str, body: bytes, token: str
) -> bool:
    """Whether the leader does it, or looks for what is asked instead of asking for a token."""
    headers = {"Authorization": f"Bearer {token}"}
    answer = HttpTransport().send(
        Request(method, pair.leader.url + path, body, headers)
    )
    return answer.ok or b"unrecognizedTask" in answer.body
