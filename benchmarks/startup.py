"""What it costs an app to start: CPU milliseconds above a bare interpreter, and ratios to numpy.

Run by `make bench`. Each figure is the least of several fresh processes that find compiled
modules, as an installed app does.
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
    """The least CPU time of `program` in a fresh process, in milliseconds.

    Modules are compiled into the folder `compiled` by the first one.
    """
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": compiled}
    command = [sys.executable, "-c", TIMED.format(program)]
    times = [float(_printed(command, env)) for _ in range(RUNS)]
    return 1000 * min(times)


def _printed(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return done.stdout


def main() -> None:
    """Print one line per program."""
    print(
        f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        measured = {name: cpu_ms(program, folder) for name, program in PROGRAMS.items()}
    bare = measured.pop("a bare interpreter")
    numpy = measured["import numpy"] - bare
    print(f"{'CPU above a bare interpreter':48}{'ms':>8}{'/ numpy':>10}")
    for name, total in measured.items():
        print(f"{name:48}{total - bare:8.0f}{(total - bare) / numpy:10.2f}")


if __name__ == "__main__":
    main()
