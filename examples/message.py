"""Messages with a limit that two processes share: at most one a day, whoever is quicker.

python examples/message.py

Decide and reserve happen in one step, so two processes cannot both be the first; what was never
drawn is given back; what was drawn counts, and the next one is told when it may come.
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


def opened(folder: Path) -> Personalizer:
    """The same vault in every process; limits need no consent, and no profile is built."""
    return Personalizer(
        MESSAGES,
        Settings(path=str(folder / "taste.db"), caps=LIMITS),
        key=KeyFile(folder / "taste.key"),
        consent=Consent(),
    )


def deliver(title: str) -> bool:
    """Where the app draws the message; False if it could not, as when the screen is locked."""
    print(f"delivered: {title}", flush=True)
    return True


def send(folder: Path) -> None:
    """Send the next message, if one may be sent now."""
    with opened(folder) as me:
        picks = me.recommend(1, surface="inbox")
        for pick in picks:
            if deliver(pick.item.title):
                me.observe(pick.impression("rendered"))
                me.observe(pick.impression())  # later, once it was in view
            else:
                me.release(pick)
        for denial in picks.denials[:1]:
            held = f"{denial.reason_code}, {denial.used} of {denial.limit}"
            print(f"held back: {held}, until {denial.next_allowed_at:%d %B}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        send(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            opened(Path(folder)).close()
            command = [sys.executable, __file__, folder]
            for racing in [subprocess.Popen(command) for _ in range(2)]:
                racing.wait()
