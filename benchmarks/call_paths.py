"""Number of files that one call of the public API enters, and of changes between files.

`make walks` prints a line with targets for each of observe, recommend and contribute.
A call of a function in another file of the project is one change. Calls are measured
on an open device, so opening it does not count.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = tuple(str(ROOT / folder) for folder in ("sdk", "server_aggregator"))


def measure(call: Callable[[], object]) -> tuple[int, int]:
    """Return (files entered, changes of file) of one call, in this thread."""
    files: set[str] = set()
    changes = 0

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal changes
        if event != "call":
            return
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGES):
            return
        files.add(name)
        # The nearest caller in this project: libraries and the interpreter are skipped.
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(PACKAGES):
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename != name:
            changes += 1

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return len(files), changes


# The most files and changes that each call should have.
TARGETS = {"observe": (18, 80), "recommend": (35, 250), "contribute": (30, 250)}


def main() -> None:
    """Print files and changes of each call, with their targets."""
    with tempfile.TemporaryDirectory() as folder:
        for name, (files, changes) in measure_all(Path(folder)).items():
            most_files, most_changes = TARGETS[name]
            print(
                f"{name:12}{files:4} files, {changes:5} changes of file"
                f"   (target {most_files}, {most_changes})"
            )


def measure_all(folder: Path) -> dict[str, tuple[int, int]]:
    """Measure each call on a device that shares with a real pair.

    observe and recommend are called once before, so that caches are filled.
    """
    from tactful import Catalog, Consent, Event, Item, KeyFile, Personalizer
    from tactful.device.settings import Aggregators
    from tactful.testing import NewDeviceSettings
    from tactful_aggregator.testing import running_pair
    from tactful_aggregator.training.state import Training

    items = [
        Item(id=f"i{n}", title=f"Item {n}", category=f"c{n % 20}") for n in range(200)
    ]
    catalog = Catalog(items)
    consent = Consent.to("local_profile", "local_personalization", "share_dp_updates")
    with running_pair(folder, min_batch_floor=1) as pair:
        training = Training(
            model="walk",
            catalog=catalog.sha256,
            items=len(catalog),
            users=1000,
            epsilon=3.0,
            delta=1e-6,
            min_batch_size=1,
        )
        pair.start(training)
        pair.refresh("walk")
        settings = NewDeviceSettings(
            path=str(folder / "vault.db"),
            aggregators=Aggregators(**pair.aggregators("walk")),
            lifetime_epsilon=3.0,
            min_batch_size=1,
        )
        key = KeyFile(folder / "vault.key")
        with Personalizer(catalog, settings, key=key, consent=consent) as me:
            me.observe(Event(kind="like", item_id="i4"))
            me.recommend(10)
            like = Event(kind="like", item_id="i5")
            return {
                "observe": measure(lambda: me.observe(like)),
                "recommend": measure(lambda: me.recommend(10)),
                "contribute": measure(me.sharing.contribute),
            }


if __name__ == "__main__":
    main()
