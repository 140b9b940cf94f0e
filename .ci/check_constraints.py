"""Refuse pins that name a host, lack a hash or miss a dependency of pyproject.toml."""

import pathlib
import re
import sys
import tomllib
from typing import Any


def faults(name: str, wanted: set[str]) -> list[str]:
    """What is wrong with the constraints file `name`, one sentence each."""
    text = pathlib.Path(name).read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    pinned = {entry.split("==")[0].strip().lower() for entry in entries}
    found = [f"{name}: names a host" for _ in [0] if "://" in text]
    found += [
        f"{name}: no hash for {entry.split()[0]}"
        for entry in entries
        if "--hash=" not in entry
    ]
    return found + [
        f"{name}: {lost} is not pinned; run `make constraints`"
        for lost in sorted(wanted - pinned)
    ]


def names(requirements: list[str]) -> set[str]:
    """Return the bare names of `requirements`, without our own distributions."""
    bare = {re.split(r"[\[<>=;! ]", one)[0].lower() for one in requirements}
    return {name for name in bare if not name.startswith("tactful")}


def project(folder: str) -> dict[str, Any]:
    """Return the project table of a distribution."""
    text = (pathlib.Path(folder) / "pyproject.toml").read_text()
    return dict(tomllib.loads(text)["project"])


if __name__ == "__main__":
    sdk, aggregator, lab = map(project, (".", "server_aggregator", "lab"))
    extras = sdk["optional-dependencies"]
    run = names(sdk["dependencies"] + aggregator["dependencies"] + lab["dependencies"])
    dev = names(extras["dev"]) | names(aggregator["optional-dependencies"]["postgres"])
    found = faults("constraints.txt", run | names(extras["person"]))
    found += faults("constraints-dev.txt", run | dev)
    found += faults("constraints-bench.txt", names(extras["bench"]))
    sys.exit("\n".join(found) if found else 0)
