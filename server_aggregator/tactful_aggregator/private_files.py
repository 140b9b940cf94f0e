"""Files that only their owner can read, from their creation on."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

from tactful.errors import InvalidInput

GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# On Windows a folder's access control list decides who can read it, not a mode.
HAS_MODES = os.name == "posix"


def create(path: Path) -> int:
    """Create a file with mode 0600, whatever the umask; return its descriptor.

    Raises FileExistsError if the file exists.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    if HAS_MODES:
        os.fchmod(descriptor, 0o600)
    return descriptor


def require(folder: Path, names: Sequence[str]) -> None:
    """Raise InvalidInput if other users can enter the folder or read one of its files.

    The message has the command that fixes it.
    """
    paths = [folder, *(folder / name for name in names)]
    readable = [path for path in paths if _is_readable_by_others(path)]
    if readable:
        mode = stat.S_IMODE(readable[0].stat().st_mode)
        listed = ", ".join(str(path) for path in readable)
        problem = f"others can read {listed} (mode {mode:04o})"
        raise InvalidInput("dir", problem, _chmod_command(readable))


def _is_readable_by_others(path: Path) -> bool:
    try:
        return HAS_MODES and bool(path.stat().st_mode & GROUP_AND_OTHERS)
    except FileNotFoundError:
        return False


def _chmod_command(paths: Sequence[Path]) -> str:
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir()]
    commands = []
    for mode, targets in (("700", folders), ("600", files)):
        if targets:
            quoted = [shlex.quote(str(path)) for path in targets]
            commands.append(" ".join(["chmod", mode, *quoted]))
    return " && ".join(commands)
