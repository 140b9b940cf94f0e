"""Files that only their owner can read, from their first moment on."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

from tactful.errors import InvalidInput

OTHERS = stat.S_IRWXG | stat.S_IRWXO
HAS_MODES = os.name == "posix"  # on Windows a folder's access list says who may read


def create(path: Path) -> int:
    """The handle of a new file with mode 0600, whatever the umask; it must not exist."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    if HAS_MODES:
        os.fchmod(handle, 0o600)
    return handle


def require(folder: Path, names: Sequence[str]) -> None:
    """Raise InvalidInput if others can enter the folder, or read one of these files in it."""
    paths = [folder, *(folder / name for name in names)]
    open_to_others = [path for path in paths if _is_open(path)]
    if open_to_others:
        first = open_to_others[0]
        mode = stat.S_IMODE(first.stat().st_mode)
        problem = (
            f"others can read {', '.join(map(str, open_to_others))} (mode {mode:04o})"
        )
        raise InvalidInput("dir", problem, _command(open_to_others))


def _is_open(path: Path) -> bool:
    try:
        return HAS_MODES and bool(path.stat().st_mode & OTHERS)
    except FileNotFoundError:
        return False


def _command(paths: Sequence[Path]) -> str:
    parts = []
    for mode, some in (
        ("700", [path for path in paths if path.is_dir()]),
        ("600", [path for path in paths if not path.is_dir()]),
    ):
        if some:
            parts.append(
                " ".join(["chmod", mode, *(shlex.quote(str(path)) for path in some)])
            )
    return " && ".join(parts)
