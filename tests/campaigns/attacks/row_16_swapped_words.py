"""A release swaps two words in the list of event kinds and hopes that clicks become views."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import tactful

TITLE = "Swapped words in the list of event kinds"
VAULTS = Path(__file__).parents[2] / "vectors" / "vaults"
WORDS = ('    "view",\n    "click",\n', '    "click",\n    "view",\n')
READ = """
import json, sys
from tactful.device.device_key import KeyFile
from tactful.device.events import StoredEvent
from tactful.device.vault import Vault
with Vault.open(sys.argv[1], KeyFile(sys.argv[2])) as vault:
    print(json.dumps([StoredEvent.from_fields(r.fields).kind for r in vault.read(0, ['event'])]))
"""


def attack(folder: Path) -> str | None:
    """Swap the words in a copy of the SDK, and read the golden vault with it."""
    shutil.copytree(Path(tactful.__file__).parent, folder / "sdk" / "tactful")
    source = folder / "sdk" / "tactful" / "device" / "events.py"
    text = source.read_text("utf-8")
    if text.count(WORDS[0]) != 1:
        raise RuntimeError("the list of kinds is not written as this attack expects")
    source.write_text(text.replace(*WORDS), "utf-8")
    for name in ("golden-4.db", "golden-4.key"):
        shutil.copy(VAULTS / name, folder)
    (folder / "golden-4.key").chmod(0o600)
    expected = json.loads((VAULTS / "golden-4.json").read_text("utf-8"))["events"]
    changed = sum(
        event["kind"] != kind
        for event, kind in zip(expected, _kinds(folder), strict=True)
    )
    return f"{changed} stored events changed their kind" if changed else None


def _kinds(folder: Path) -> list[str]:
    """Return the kinds of all stored events, as the changed SDK reads them."""
    command = [sys.executable, "-c", READ, "golden-4.db", "golden-4.key"]
    environment = {**os.environ, "PYTHONPATH": str(folder / "sdk")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout))
