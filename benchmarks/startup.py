"""CPU time of the start of an app, above a bare interpreter and relative to numpy.

`make bench` runs it. Each figure is the least of several new processes with compiled
modules, as in an installed app.
"""

import os
import platform
import subprocess
import sys
import tempfile

RUNS = 7
PROGRAMS = {
    "a bare interpreter": "pass",
    "import numpy": "import numpy",
    "from tactful import Personalizer, Settings": "from tactful import Personalizer, Settings",
    "first recommend(10) of 1,000 items": """
from tactful import Catalog, Consent, HostKey, Item, Personalizer, Settings
items = [Item(id=f"i{n}", title=f"Item {n}", category=f"c{n % 20}") for n in range(1000)]
agreed = Consent.to("local_profile", "local_personalization")
choices = {"key": HostKey(bytes(32)), "consent": agreed}
with Personalizer(Catalog(items), Settings(path=None), **choices) as me:
    assert len(me.recommend(10, surface="home")) == 10
""",
}
TIMED = "import time\n{}\nprint(time.process_time())"


def cpu_ms(program: str, compiled: str) -> float:
    """Return the least CPU time of `program` in a new process, in milliseconds.

    The first process compiles the modules into the folder `compiled`.
    """
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
    command = [sys.executable, "-c", TIMED.format(program)]
    times = [float(_output(command, env)) for _ in range(RUNS)]
    return 1000 * min(times)


def _output(command: list[str], env: dict[str, str]) -> str:
    completed = subprocess.run(
        command, env=env, capture_output=True, text=True, check=True
    )
    return completed.stdout


def main() -> None:
    """Print one line per program."""
    print(
        f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        totals = {name: cpu_ms(program, folder) for name, program in PROGRAMS.items()}
    bare = totals.pop("a bare interpreter")
    numpy = totals["import numpy"] - bare
    print(f"{'CPU above a bare interpreter':48}{'ms':>8}{'/ numpy':>10}")
    for name, total in totals.items():
        print(f"{name:48}{total - bare:8.0f}{(total - bare) / numpy:10.2f}")


if __name__ == "__main__":
    main()
