"""The format of a vault: golden vaults, conversion, and releases that meet each other."""

import importlib.util
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from tactful.device.catalog import Catalog, Item
from tactful.device.consent import Consent
from tactful.device.device_key import KeyFile
from tactful.device.events import KINDS, Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Settings
from tactful.device.vault import Vault, journal, record_schemas
from tactful.device.vault.convert_format_3 import KINDS as RENAMED_KINDS
from tactful.device.vault.journal import FORMAT
from tactful.device.vault.record_schemas import CURRENT, SCHEMAS
from tactful.errors import VaultDamaged, VaultForeign
from tactful.testing import FIXED_KEY

VAULTS = Path("tests/vectors/vaults")
CATALOG = Catalog([Item(id="tea", title="Tea")])


@pytest.fixture
def golden(root: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return a copy of a golden vault, by its name without ending."""
    name = request.param
    for path in (root / VAULTS).glob(f"{name}.*"):
        shutil.copy(path, tmp_path)
    (tmp_path / f"{name}.key").chmod(0o600)
    return tmp_path / name


def opened(golden: Path) -> Vault:
    return Vault.open(golden.with_suffix(".db"), KeyFile(golden.with_suffix(".key")))


def expected_of(golden: Path) -> dict[str, object]:
    expected: dict[str, object] = json.loads(golden.with_suffix(".json").read_text())
    return expected


@pytest.fixture(scope="session")
def maker(root: Path) -> ModuleType:
    """Return the script that makes golden vaults."""
    spec = importlib.util.spec_from_file_location(
        "make_golden", root / VAULTS / "make_golden.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def described(maker: ModuleType, vault: Vault) -> dict[str, object]:
    plain: dict[str, object] = json.loads(json.dumps(maker.description(vault)))
    return plain


@pytest.mark.parametrize("golden", ["golden-4"], indirect=True)
def test_a_golden_vault_has_the_content_that_it_was_made_with(
    golden: Path, maker: ModuleType
) -> None:
    with opened(golden) as vault:
        vault.verify()
        assert described(maker, vault) == expected_of(golden)


@pytest.mark.parametrize("golden", ["golden-4"], indirect=True)
def test_the_golden_vault_has_every_record_kind_and_every_event_kind(
    golden: Path,
) -> None:
    with opened(golden) as vault:
        records = list(vault.read())

    assert {record.kind for record in records} == set(CURRENT)
    events = expected_of(golden)["events"]
    assert isinstance(events, list)
    assert {event["kind"] for event in events} == set(KINDS)


@pytest.mark.parametrize("golden", ["golden-3"], indirect=True)
def test_a_vault_of_format_3_is_converted_with_all_its_content(
    golden: Path, maker: ModuleType
) -> None:
    expected = expected_of(golden)

    for _ in range(2):  # the second time it is open already
        with opened(golden) as vault:
            vault.verify()
            content = described(maker, vault)
            assert content["reservations"] == expected["reservations"]
            assert without_new_fields(content["events"]) == expected["events"]
    with sqlite3.connect(golden.with_suffix(".db")) as connection:
        assert connection.execute("pragma user_version").fetchone() == (FORMAT,)
    connection.close()


def without_new_fields(events: object) -> list[Mapping[str, object]]:
    assert isinstance(events, list)
    return [
        {name: value for name, value in event.items() if name != "cap_subject"}
        for event in events
    ]


@pytest.mark.parametrize("golden", ["golden-3"], indirect=True)
def test_a_damaged_vault_of_format_3_is_not_half_converted(golden: Path) -> None:
    path = golden.with_suffix(".db")
    with sqlite3.connect(path) as connection:
        connection.execute("update record set sealed = zeroblob(44) where position = 9")
    connection.close()
    rows = stored_rows(path)

    with pytest.raises(VaultDamaged, match="record 9 was changed"):
        opened(golden)

    assert stored_rows(path) == rows
    with sqlite3.connect(path) as connection:
        assert connection.execute("pragma user_version").fetchone() == (3,)
    connection.close()


def stored_rows(path: Path) -> list[object]:
    connection = sqlite3.connect(path)
    rows: list[object] = connection.execute(
        "select position, sealed, taste, name from record order by position"
    ).fetchall()
    rows += connection.execute("select * from vault").fetchall()
    connection.close()
    return rows


def test_converted_kinds_exist() -> None:
    assert set(RENAMED_KINDS.values()) <= set(CURRENT)
    assert not set(RENAMED_KINDS) & set(CURRENT)


@pytest.mark.parametrize("version", [1, 2, FORMAT + 1])
def test_a_file_of_an_unknown_format_is_refused_and_not_changed(
    tmp_path: Path, version: int
) -> None:
    path, key = tmp_path / "taste.db", tmp_path / "key"
    with Vault.open(path, KeyFile(key)) as vault:
        vault.append("setting", {"balance": 0.5}, durable=True)
    with sqlite3.connect(path) as connection:
        connection.execute("pragma journal_mode = delete")
        connection.execute(f"pragma user_version = {version}")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(VaultForeign, match=f"format {version}"):
        device_at(path, key)

    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "key",
        "taste.db",
        "taste.db.mark",
    ]


def device_at(path: Path, key: Path) -> Personalizer:
    settings = Settings(path=str(path))
    consent = Consent.to("local_profile")
    return Personalizer(CATALOG, settings, key=KeyFile(key), consent=consent)


NEWER_RELEASE = """
import sys
from tactful.device.device_key import KeyFile
from tactful.device.vault import Vault, connections, journal

def convert(connection, sealer):
    connection.execute("alter table record add column extra blob")
    [sealed] = connection.execute("select head from vault").fetchone()
    head = bytes([connections.FORMAT]) + sealer.open(sealed, b"head")[1:]
    connection.execute("update vault set head = ?", (sealer.seal(head, b"head"),))

connections.CONVERSIONS = {**connections.CONVERSIONS, journal.FORMAT: convert}
connections.FORMAT = journal.FORMAT = journal.FORMAT + 1
with Vault.open(sys.argv[1], KeyFile(sys.argv[2])) as vault:
    vault.append("setting", {"balance": 0.75}, durable=True)
    vault.verify()
    print([record.content for record in vault.read(kinds=["setting"])])
"""


def test_a_release_stops_before_it_writes_into_a_vault_that_a_newer_one_converted(
    tmp_path: Path,
) -> None:
    path, key = tmp_path / "taste.db", tmp_path / "key"
    with device_at(path, key) as device:
        device.controls.set_balance(0.25)
        command = [sys.executable, "-c", NEWER_RELEASE, str(path), str(key)]
        first = subprocess.run(command, capture_output=True, text=True)
        assert first.returncode == 0, first.stderr
        rows = stored_rows(path)

        for act in (
            lambda: device.observe(Event(kind="like", item_id="tea")),
            lambda: device.controls.set_balance(1),
            lambda: device.recommend(1),
            lambda: device.rights.export(),
        ):
            with pytest.raises(VaultForeign, match="update the app"):
                act()

        assert stored_rows(path) == rows
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert second.stdout.count("0.75") == 2
    assert "0.25" in second.stdout
    assert not list(tmp_path.glob("*damage*"))


def test_a_record_of_a_newer_version_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, key = tmp_path / "taste.db", tmp_path / "key"
    newer = replace(CURRENT["setting"], version=2)
    with monkeypatch.context() as patched:
        patched.setattr(journal, "CURRENT", {**CURRENT, "setting": newer})
        with Vault.open(path, KeyFile(key)) as vault:
            vault.append("setting", {"balance": 0.5})
    with (
        Vault.open(path, KeyFile(key)) as vault,
        pytest.raises(VaultForeign, match=r"record 1 \('setting 2'\)"),
    ):
        list(vault.read())


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("setting", {"colour": 1}),
        ("setting", [1]),
        ("assignment", {"experiment": "e"}),
        ("time_zone", []),
        ("time_zone", ["UTC", "CET"]),
        ("time_zone", {"name": "UTC"}),
        ("event", [0, 1, 2]),
    ],
)
def test_a_record_that_does_not_fit_its_schema_is_not_stored(
    kind: str, content: record_schemas.Content
) -> None:
    with Vault.open(None, FIXED_KEY) as vault:
        with pytest.raises(ValueError, match=f"record {kind} 1: the fields are wrong"):
            vault.append(kind, content)
        assert vault.position == 0


def test_the_specification_lists_every_schema_with_its_fields(root: Path) -> None:
    page = (root / "docs/spec/vault-format.md").read_text()
    rows = re.findall(
        r"^\| `(\w+) (\d+)` \| (array|object) \| ([^|]+) \|", page, re.MULTILINE
    )
    listed = {
        (kind, int(version), form, tuple(re.findall(r"`([a-z0-9_]+)`", fields)))
        for kind, version, form, fields in rows
    }

    assert listed == {
        (
            schema.kind,
            schema.version,
            "array" if schema.positional else "object",
            schema.fields,
        )
        for schema in SCHEMAS
    }
