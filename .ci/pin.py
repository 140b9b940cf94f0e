"""Pin every dependency: hashed, for all platforms, with no index address (`make constraints`)."""

import pathlib
import subprocess
import sys
import tomllib

FOLDERS = (".", "server_aggregator", "lab")
EXTRAS = {
    "constraints.txt": ["person"],
    "constraints-dev.txt": ["person", "vdaf", "dev", "keyring", "postgres"],
    "constraints-bench.txt": ["bench"],  # other projects' recommenders, to compare with
}
BUILD = ["hatchling>=1.27", "editables>=0.5"]


def requirements(extras: list[str]) -> list[str]:
    """Return what the three distributions and these extras of theirs require, but themselves."""
    required = list(BUILD)
    for folder in FOLDERS:
        text = (pathlib.Path(folder) / "pyproject.toml").read_text()
        project = tomllib.loads(text)["project"]
        required += project["dependencies"]
        for extra in extras:
            required += project["optional-dependencies"].get(extra, [])
    return [one for one in required if not one.startswith("tactful")]


def pin(target: str, extras: list[str]) -> None:
    """Resolve `extras` and the build backend into `target`."""
    options = [
        "--universal",
        "--generate-hashes",
        "--no-emit-index-url",
        "--no-header",
        "--upgrade",
    ]
    command = [sys.executable, "-m", "uv", "pip", "compile", "-q", *options]
    if "bench" in extras:  # what dev has too has the same version
        command += ["--constraint", "constraints-dev.txt"]
    subprocess.run(
        [*command, "-", "-o", target],
        input="\n".join(requirements(extras)),
        text=True,
        check=True,
    )


if __name__ == "__main__":
    for name, extras in EXTRAS.items():
        pin(name, extras)
