"""A frequency cap that two processes share: at most one message a day.

python examples/message.py

The decision and the reservation are one atomic step, so two processes cannot both send
a message. A message that was not delivered is released. A delivered one counts, and the
denial of the next one contains the time at which it is allowed.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tactful import Catalog, Consent, Item, KeyFile, Personalizer, Settings

MESSAGES = Catalog(
    [
        Item(
            id="spring",
            title="Spring sale: 20 % off bulbs",
            campaign="spring",
            tags=("promo",),
        ),
        Item(id="watering", title="Your tomatoes want water", campaign="care"),
        Item(id="club", title="Join the garden club", campaign="club", tags=("promo",)),
    ]
)
LIMITS: dict[str, object] = {
    "schema": 1,
    "surfaces": {"inbox": {"reservation_ttl_ms": 600_000}},
    "rules": [
        {
            "id": "one-a-day",
            "partition": "device",
            "key": ["app"],
            "window": {"kind": "calendar", "unit": "day"},
            "limit": 1,
            "reason_code": "ONE_A_DAY",
        }
    ],
}


def open_device(folder: Path) -> Personalizer:
    """Open the vault that all processes share.

    Frequency caps need no consent; without consent there is no profile.
    """
    return Personalizer(
        MESSAGES,
        Settings(path=str(folder / "taste.db"), caps=LIMITS),
        key=KeyFile(folder / "taste.key"),
        consent=Consent(),
    )


def deliver(title: str) -> bool:
    """Show the message; an app returns False if it cannot, e.g. on a locked screen."""
    print(f"delivered: {title}", flush=True)
    return True


def send(folder: Path) -> None:
    """Send the next message if the cap allows one now."""
    with open_device(folder) as me:
        picks = me.recommend(1, surface="inbox")
        for pick in picks:
            if deliver(pick.item.title):
                me.observe(pick.impression("rendered"))
                # In an app this comes later, when the message was in view.
                me.observe(pick.impression())
            else:
                me.release(pick)
        for denial in picks.denials[:1]:
            reason = f"{denial.reason_code}, {denial.used} of {denial.limit}"
            print(f"denied: {reason}, until {denial.next_allowed_at:%d %B}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        send(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            open_device(Path(folder)).close()
            command = [sys.executable, __file__, folder]
            processes = [subprocess.Popen(command) for _ in range(2)]
            for process in processes:
                process.wait()
