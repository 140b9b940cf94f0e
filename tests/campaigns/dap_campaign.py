"""Many schedules of faults, kills of real processes, and 10,000 attempts of hostile clients.

`make dap-campaign N=2000`: so many schedules, and a tenth as many kills (SIGKILL) at statements
of a leader or helper process. With TACTFUL_POSTGRES set, half of both run on that server.
"""

import os
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "server_aggregator"))

from dap_simulation import Simulation, Step, steps
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from killed_pair import crimes
from sqlalchemy import create_engine, text
from test_malicious import attempts, norms

MOST_LEADER, MOST_HELPER = 160, 45  # statements until the sum is there, about
POSTGRES = os.environ.get("TACTFUL_POSTGRES", "")


def main(count: int) -> None:
    started, done = time.monotonic(), 0

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=True,
    )
    @given(steps=steps, protocol=st.sampled_from(["dap-09", "dap-18"]))
    def schedules(steps: list[Step], protocol: str) -> None:
        nonlocal done
        done += 1
        with tempfile.TemporaryDirectory() as folder:
            places = databases() if POSTGRES and done % 2 else None
            Simulation(Path(folder), protocol, places).run(steps)
        if done % 100 == 0:
            print(f"{done} schedules in {time.monotonic() - started:.0f} s")

    schedules()
    print(f"{done} schedules: nothing counted twice, mixed, made up or lost")
    spoilt = kills(max(count // 10, 10))
    taken = attempts(9_000, seed=secrets.randbits(32)) + norms(
        1_000, seed=secrets.randbits(32)
    )
    print(f"{taken} of 10,000 hostile reports were accepted")
    sys.exit(taken > 0 or spoilt > 0)


def kills(count: int) -> int:
    """Kill a half of a real pair so many times; how many sums were not exact."""
    chance, spoilt, unkilled = random.Random(secrets.randbits(64)), 0, 0
    for number in range(count):
        role, most = (("leader", MOST_LEADER), ("helper", MOST_HELPER))[number % 2]
        at = chance.randint(1, most)
        places = databases() if POSTGRES and number // 2 % 2 else None
        wrong = crimes(role, at, places)
        unkilled += wrong == ["0 kills"]  # the sum was there before that statement
        if wrong not in ([], ["0 kills"]):
            spoilt += 1
            print(f"{role} killed at its statement {at}: {'; '.join(wrong)}")
    print(f"{count - unkilled} kills of a process: {spoilt} sums that were not exact")
    return spoilt


def databases() -> tuple[str, str]:
    """Two new databases of the server."""
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    made = []
    with admin.connect() as connection:
        for _ in range(2):
            name = f"tactful_{secrets.token_hex(8)}"
            connection.execute(text(f"create database {name}"))
            made.append(POSTGRES.replace("/postgres?", f"/{name}?"))
    admin.dispose()
    return made[0], made[1]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
