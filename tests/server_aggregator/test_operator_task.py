"""An operator's own task: what could never be served or collected is refused by name."""

import json
import secrets
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.errors import InvalidInput
from tactful.protocol.dap.dap_task import encoded
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.settings import Aggregator
from tactful_aggregator.task_registry import OperatorTask, serve_operator_task
from tactful_aggregator.testing import create_pair

NOW = 1_764_000_000
PINE = {
    "kind": "pine64",
    "length": 4,
    "most": 9,
    "chunk": 40,
    "norm_chunk": 2,
    "proofs": 3,
}


@pytest.fixture
def leader(tmp_path: Path) -> Aggregator:
    return create_pair(tmp_path, min_batch_floor=4)[0]


def written(aggregator: Aggregator, **changes: object) -> bytes:
    """The example of docs/operating.md, for this pair."""
    task = {
        "protocol": "dap-09",
        "leader": aggregator.settings.url,
        "helper": aggregator.other_aggregator.url,
        "time_precision": 3600,
        "min_batch_size": 100,
        "batch_mode": "time_interval",
        "opens": NOW,
        "expires": NOW + 2_600_000,
        "info": "how many opened it",
        "vdaf": {"kind": "histogram", "length": 11, "chunk": 3},
        "verify_key": encoded(secrets.token_bytes(16)),
        "collector_config_id": 1,
        "collector_key": encoded(
            X25519PrivateKey.generate().public_key().public_bytes_raw()
        ),
        "noise": "none",
        "id": encoded(secrets.token_bytes(32)),
    }
    return json.dumps({**task, **changes}).encode()


def test_the_task_of_the_manual_is_kept(leader: Aggregator) -> None:
    serve_operator_task(leader, OperatorTask.parse(written(leader)), NOW)


WRONG = [
    ("collector_config_id", 256),
    ("collector_config_id", -1),
    ("collector_key", encoded(bytes(32))),
    ("collector_key", "AA"),
    ("verify_key", ""),
    ("id", "x"),
    ("expires", 1 << 64),
    ("expires", NOW),
    ("opens", 1 << 60),
    ("time_precision", 0),
    ("time_precision", 1 << 64),
    ("min_batch_size", 1 << 64),
    ("min_batch_size", 99),
    ("info", ""),
    ("info", "x" * 256),
    ("protocol", "dap-10"),
    ("batch_mode", "fixed"),
    ("leader", "https://elsewhere.example"),
    ("noise", None),
    ("noise", "some"),
    *(
        ("noise", {"family": "rounded_gaussian", "sigma2": sigma2})
        for sigma2 in ("1/0", "x", "nan", "1.5", "1/1000", "9" * 30 + "/1", "-1/1")
    ),
    ("noise", {"family": "laplace", "sigma2": "100/1"}),
    ("vdaf", {"kind": "count", "most": 1}),
    ("vdaf", {"kind": "sum", "most": -1}),
    ("vdaf", {"kind": "histogram", "length": 11, "chunk": 1 << 32}),
    ("vdaf", {"kind": "histogram", "length": 1 << 23, "chunk": 3}),
    ("vdaf", {**PINE, "proofs": 2}),
    ("vdaf", {**PINE, "norm_chunk": 1 << 32}),
    ("vdaf", {**PINE, "length": -4}),
    ("colour", "red"),
]


@pytest.mark.parametrize("protocol", ["dap-09", "dap-18"])
@pytest.mark.parametrize(("name", "value"), WRONG, ids=[str(one)[:60] for one in WRONG])
def test_what_cannot_be_is_refused_and_nothing_is_kept(
    leader: Aggregator, protocol: str, name: str, value: object
) -> None:
    size = 32 if protocol == "dap-18" else 16
    chosen = {"protocol": protocol, "verify_key": encoded(bytes(size)), name: value}

    with pytest.raises(InvalidInput, match=r"^(task|vdaf|sigma2|family)"):
        serve_operator_task(leader, OperatorTask.parse(written(leader, **chosen)), NOW)

    store = Datastore(leader.database, "leader")
    with store.transaction() as tx:
        assert tx.tasks.ids() == []
    store.close()
