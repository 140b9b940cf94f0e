"""Refuse pins that name a host, lack a hash or miss a dependency of pyproject.toml."""

import pathlib
import re
import sys
import tomllib


def faults(name: str, wanted: set[str]) -> list[str]:
    """What is wrong with the constraints file `name`, one sentence each."""
    text = pathlib.Path(name).read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    pinned = {entry.split("==")[0].strip().lower() for entry in entries}
    found = [f"{name}: names a host" for _ in [0] if "://" in text]
    found += [
        f"{name}: no hash for {entry.split()[0]}" for entry in entries if "--hash=" not in entry
    ]
    return found + [
        f"{name}: {lost} is not pinned; run `make constraints`" for lost in sorted(wanted - pinned)
    ]


def names(requirements: list[str]) -> set[str]:
    """The bare names of `requirements`, without our own extras."""
    bare = {re.split(r"[\[<>=;! ]", one)[0].lower() for one in requirements}
    return bare - {"tactful"}


if __name__ == "__main__":
    project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    run = names(project["dependencies"] + extras["aggregator"] + extras["lab"])
    found = faults("constraints.txt", run) + faults(
        "constraints-dev.txt", run | names(extras["dev"])
    )
    found += faults("constraints-bench.txt", names(extras["bench"]))
    sys.exit("\n".join(found) if found else 0)
