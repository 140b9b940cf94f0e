"""Runs one action of a device over and over, killed before a later step each time; prints JSON.

A step is an SQL statement or a request. `killed.py observe FOLDER` and
`killed.py contribute FOLDER SETTINGS.json`; each line tells where it died and what was found then.
"""

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

from tactful.device.consent import Consent
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Aggregators, Settings
from tactful.protocol.transport import HttpTransport, Request, Response
from tactful.testing import FIXED_KEY, NewDeviceSettings, small_catalog

CATALOG = small_catalog()
AGREED = Consent.to("local_profile", "local_personalization", "share_dp_updates")
connect = sqlite3.connect


class Death:
    """Kills this process before step `at`, with SIGKILL."""

    def __init__(self, at: int) -> None:
        self.steps, self.at = 0, at

    def step(self, _: str = "") -> None:
        self.steps += 1
        if self.steps == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def connect(self, *arguments: object, **options: object) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(self.step)
        return connection

    def send(self, request: Request) -> Response:
        self.step()
        answer = HttpTransport().send(request)
        self.step()
        return answer


def deaths(run: Callable[[Death, int], None]) -> range:
    """Run in a child for each place to die, until it lives; the places where it died."""
    for at in count(1):
        child = os.fork()
        if child == 0:
            death = Death(at)
            sqlite3.connect = death.connect
            run(death, at)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            return range(1, at)
    raise AssertionError


def device(settings: Settings, death: Death | None = None) -> Personalizer:
    return Personalizer(
        CATALOG, settings, key=FIXED_KEY, consent=AGREED, transport=death
    )


def observe(folder: Path) -> None:
    def settings(at: int) -> Settings:
        return Settings(path=str(folder / f"{at}.db"))

    def run(death: Death, at: int) -> None:
        acknowledged = os.open(
            folder / f"{at}.acknowledged", os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        )
        with device(settings(at), death) as me:
            for number in range(4):
                me.observe(Event(kind="like", item_id=f"item-{number}"))
                os.write(acknowledged, f"item-{number}\n".encode())
            for pick in me.recommend(2):
                me.observe(pick.impression())
                os.write(acknowledged, f"{pick.reservation_id}\n".encode())

    for at in deaths(run):
        acknowledged = (folder / f"{at}.acknowledged").read_text().split()
        with device(settings(at)) as me:
            held = json.dumps(me.rights.export())
            me.observe(Event(kind="like", item_id="item-9"))
            works = "item-9" in me.status.profile.beliefs
        lost = [one for one in acknowledged if one not in held]
        print(json.dumps({"died": at, "lost": lost, "works": works}))


def contribute(folder: Path, pair: dict[str, str]) -> None:
    def settings(at: int) -> Settings:
        return NewDeviceSettings(
            path=str(folder / f"{at}.db"),
            aggregators=Aggregators(**pair),
            lifetime_epsilon=20_000.0,
            min_batch_size=4,
        )

    def run(death: Death, at: int) -> None:
        with device(settings(at), death) as me:
            me.observe(Event(kind="like", item_id="item-1"))
            me.sharing.contribute()

    places = deaths(run)
    for at in places:
        with device(settings(at), Death(0)) as me:
            charged = len(me.status.ledger.charges)
            me.sharing.contribute()
            me.sharing.contribute()
            charges = len(me.status.ledger.charges)
        print(json.dumps({"died": at, "charged": charged, "charges": charges}))


if __name__ == "__main__":
    if sys.argv[1] == "observe":
        observe(Path(sys.argv[2]))
    else:
        contribute(Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text()))
