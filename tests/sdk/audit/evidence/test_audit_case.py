"""Evidence that is damaged, foreign or contradicts itself never passes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.audit.cli import main
from tactful.audit.finding import Status
from tactful.errors import InvalidInput
from tactful.protocol.documents import evidence as shown
from tactful.protocol.documents.evidence import (
    Canaries,
    Documents,
    PublishedKeys,
    Upload,
)

from ..conftest import CLAIM, WHOLE, verdicts


def test_a_bundle_equals_what_is_read_from_its_files(bundle: Path) -> None:
    read = shown.read(bundle)

    assert read.documents == WHOLE.documents
    assert read.sums["ab"].tolist() == list(range(8))
    assert read.residuals is not None
    assert (read.residuals.family, read.residuals.sigma2) == ("rounded_gaussian", "4/1")
    assert shown.read(bundle, read.made_by).made_by == read.made_by


@pytest.mark.parametrize("name", ["manifest.json", "documents.json", "arrays.npz"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:-5] + b"xxxxx",
        lambda content: b"{" * 5000,
    ],
)
def test_a_damaged_file_is_refused_by_name(
    bundle: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    path = bundle / name
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(InvalidInput, match=rf"^evidence .*{name.partition('.')[0]}"):
        shown.read(bundle)
    assert main(["--evidence", str(bundle)]) == 3


def test_arrays_that_unpack_to_too_many_bytes_are_refused_unread(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        shown, "MAX_ARRAYS", 300
    )  # each array here is 64 bytes and a header

    with pytest.raises(InvalidInput, match=r"arrays\.npz: it has more than 300 bytes"):
        shown.read(bundle)
    assert main(["--evidence", str(bundle)]) == 3


def test_a_missing_file_is_refused_by_name(bundle: Path) -> None:
    (bundle / "arrays.npz").unlink()

    with pytest.raises(InvalidInput, match=r"arrays\.npz: .*missing"):
        shown.read(bundle)


def test_a_bundle_signed_by_another_key_is_refused(bundle: Path) -> None:
    with pytest.raises(InvalidInput, match="not by the trusted key"):
        shown.read(bundle, "ab" * 32)
    assert main(["--evidence", str(bundle), "--signed-by", "ab" * 32]) == 3


@given(content=st.binary(max_size=200))
@settings(max_examples=50)
def test_random_bytes_are_never_read_as_documents(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="evidence"):
        shown.parse(content if content.strip() != b"{}" else b"")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ('{"claim": {"epsilon": 1}}', "claim"),
        ('{"claim": null, "colour": "red"}', "colour"),
        ('{"log": "one line"}', "log"),
        ('{"canaries": [{"rho": 1}]}', "canaries"),
        (
            '{"claim": {"model": "m", "epsilon": 1.0, "delta": 0.1, "rho": "1/1", "unit": "device",'
            '"adjacency": "zero_out", "eligible": 1, "class_": "CERTIFIED"}}',
            "class_",
        ),
    ],
)
def test_missing_and_unknown_fields_are_refused_by_name(wrong: str, field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        shown.parse(wrong.encode())


@pytest.mark.parametrize(
    "wrong",
    [
        {"tasks": ("{}",)},
        {"tasks": ("not json",)},
        {"releases": ("{}",), "keys": PublishedKeys(leader="AA==", helper="AA==")},
        {"log": ("not an entry",), "keys": PublishedKeys(leader="!", helper="?")},
        {"ledgers": ("{}", "not json")},
        {
            "ledgers": (
                json.dumps({"document": "{}", "public_key": "", "signature": ""}),
            )
        },
        {"claim": replace(CLAIM, rho="0.2")},
        {"claim": replace(CLAIM, epsilon=float("nan"), delta=-1.0, eligible=0)},
        {"uploads": (Upload(history="a", url="x", headers={}, body="!!"),)},
        {"uploads": (Upload(history="a", url="x", headers={}, body="AAAA"),)},
        {
            "canaries": (
                Canaries(rho="1/0", delta=0.0, commitment="", opened="zz", scores=()),
            )
        },
    ],
)
def test_evidence_that_cannot_be_read_is_refuted_or_not_run_and_never_passes(
    wrong: dict[str, object],
) -> None:
    given = verdicts(Documents(**wrong))

    passed = {name for name, status in given.items() if status is Status.PASSED}
    assert passed == set()
    assert Status.REFUTED in given.values() or Status.NOT_RUN in given.values()
