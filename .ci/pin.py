"""Pin every dependency: hashed, for all platforms, with no index address (`make constraints`)."""

import subprocess
import sys

SETS = {
    "constraints.txt": ["lab", "person"],
    "constraints-dev.txt": ["lab", "dev", "keyring"],
    "constraints-bench.txt": ["bench"],  # what others' lists cost; put beside the ones of dev
}
BUILD = "hatchling>=1.27\neditables>=0.5\n"


def pin(target: str, extras: list[str]) -> None:
    """Resolve `extras` and the build backend into `target`; what dev has too is the same there."""
    options = [
        "--universal",
        "--generate-hashes",
        "--no-emit-index-url",
        "--no-header",
        "--upgrade",
    ]
    wanted = [part for extra in extras for part in ("--extra", extra)]
    command = [sys.executable, "-m", "uv", "pip", "compile", "-q", *options, *wanted]
    if "bench" in extras:
        command += ["--constraint", "constraints-dev.txt"]
    subprocess.run(
        [*command, "pyproject.toml", "-", "-o", target], input=BUILD, text=True, check=True
    )


if __name__ == "__main__":
    for name, extras in SETS.items():
        pin(name, extras)
