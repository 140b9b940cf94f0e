"""The examples in docs/spec/documents.md are valid documents."""

import base64
import json
import re
from pathlib import Path

import pytest

from tactful.protocol.dap.signed_hpke_config import ConfigDocument
from tactful.protocol.documents import model_release, task
from tactful.protocol.log.transcript import (
    BatchRecord,
    Proof,
    SignedCheckpoint,
    parse,
)
from tactful.protocol.signed_json import canonical

Examples = dict[str, list[dict[str, object]]]


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs/spec/documents.md").read_text()


@pytest.fixture(scope="module")
def keys(page: str) -> tuple[bytes, bytes]:
    """Return the public keys of leader and helper that the page names."""
    leader, helper = re.findall(r"`([A-Za-z0-9+/]{43}=)`", page)
    return base64.b64decode(leader), base64.b64decode(helper)


@pytest.fixture(scope="module")
def examples(page: str) -> Examples:
    """Return the JSON examples by the title of their section."""
    sections = re.split(r"^## \d+\. ", page, flags=re.MULTILINE)[1:]
    return {
        section.splitlines()[0]: [
            json.loads(block)
            for block in re.findall(r"```json\n(.*?)```", section, re.S)
        ]
        for section in sections
    }


def test_the_task_is_signed_by_both_aggregators(
    examples: Examples, keys: tuple[bytes, bytes]
) -> None:
    [example] = examples["Task"]

    signed = task.SignedTask.decode(canonical(example))

    assert signed.verify(*keys, now=signed.task.opens).model == "films"
    assert signed.encode() == canonical(example)


def test_the_batch_record_is_of_the_task(examples: Examples) -> None:
    [example] = examples["Batch record"]
    signed = task.SignedTask.decode(canonical(examples["Task"][0]))

    record = BatchRecord.parse(canonical(example))

    assert record.task == signed.task.id.hex()
    assert record.sigma2 == signed.task.sigma2


def test_the_release_is_acceptable(
    examples: Examples, keys: tuple[bytes, bytes]
) -> None:
    [example] = examples["Release"]
    signed = model_release.SignedRelease.decode(canonical(example))

    release = signed.verify(
        *keys,
        model="films",
        catalog=signed.release.catalog,
        newer_than=0,
        min_batch_size=1000,
        now=signed.release.created,
    )

    assert release.version == 1


def test_the_proof_covers_the_release_under_the_checkpoint(
    examples: Examples, keys: tuple[bytes, bytes]
) -> None:
    entry, checkpoint, proof_example = examples["Publication log"]
    proof = Proof.decode(canonical(proof_example))

    head = proof.verify(canonical(examples["Release"][0]), "release", keys[0], None)

    assert parse(canonical(entry).decode()).index == head.size - 1
    assert SignedCheckpoint.decode(canonical(checkpoint)).verify(keys[0]) == head


def test_the_hpke_config_can_be_parsed(examples: Examples) -> None:
    [example] = examples["HPKE config"]

    document = ConfigDocument.parse(canonical(example))

    assert document.hpke_config.public_key == bytes(range(32))
