"""Another user of the machine reads what a half keeps, in the hope of keys and passwords."""

import os
import stat
from pathlib import Path

from attacked_pair import count_task, sent

from tactful_aggregator.testing import running_pair

TITLE = "Another local user reads a half's keys and database"
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def attack(folder: Path) -> str | None:
    """Look for a file of a running pair that others than its owner may read or enter."""
    if os.name == "nt":
        return None
    before = os.umask(0o022)  # as most systems have it
    try:
        with running_pair(folder, min_batch_floor=1, min_count_floor=1) as pair:
            written, _ = count_task(pair)
            sent(pair, written.provisioned.task, 1)
            halves = (pair.leader.aggregator, pair.helper.aggregator)
            read = [path for half in halves for path in _readable(half.folder)]
    finally:
        os.umask(before)
    shown = sorted(str(path.relative_to(folder)) for path in read)
    return f"another local user may read {', '.join(shown)}" if read else None


def _readable(folder: Path) -> list[Path]:
    paths = [folder, *folder.rglob("*")]
    return [path for path in paths if path.stat().st_mode & OTHERS]
