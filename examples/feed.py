"""A product feed that learns on the device and explains its recommendations.

python examples/feed.py [FOLDER]   (1,000 products of a real shop, online-retail, CC0)
"""

import csv
import lzma
import sys
import tempfile
from pathlib import Path

from tactful import Catalog, Consent, Event, Item, KeyFile, Personalizer, Settings

DATA = (
    Path(__file__).parent.parent / "lab/tactful_lab/data/online-retail/products.csv.xz"
)


def products() -> Catalog:
    """Return the shop's catalog; an item needs only an id and a title."""
    with lzma.open(DATA, "rt", encoding="utf-8") as table:
        return Catalog(
            Item(
                id=row["product"],
                title=row["title"],
                category=row["category"],
                price=float(row["price"]) if row["price"] else None,
            )
            for row in csv.DictReader(table)
        )


def open_device(folder: Path) -> Personalizer:
    """Open the person's vault, as the app does at each start; this needs no network."""
    # The purposes to which the person agreed.
    consent = Consent.to("local_profile", "local_personalization")
    return Personalizer(
        products(),
        Settings(path=str(folder / "taste.db")),
        key=KeyFile(folder / "taste.key"),
        consent=consent,
    )


def show(me: Personalizer, n: int = 4) -> list[str]:
    """Show one screen of the feed and record the impressions; return the item ids."""
    item_ids = []
    for pick in me.recommend(n, surface="home"):
        reasons = ", ".join(str(reason) for reason in pick.reasons)
        print(f"  {pick.item.title} - {reasons}")
        me.observe(pick.impression())
        item_ids.append(pick.item.id)
    return item_ids


def main(folder: Path) -> None:
    """Start the app twice."""
    with open_device(folder) as me:
        print("Nothing is known yet:")
        show(me)

        # Regency cakestand 3 tier
        me.observe(Event(kind="purchase", item_id="22423"))
        # White hanging heart t-light holder
        me.observe(Event(kind="like", item_id="85123A"))
        print("One thing bought, one liked:")
        first_screen = show(me)

    with open_device(folder) as me:
        print("After a restart:")
        second_screen = show(me)
        repeated = len(set(first_screen) & set(second_screen))
        print(f"  {repeated} of them were on the last screen")

        unwanted = me.catalog[second_screen[0]]
        me.observe(Event(kind="dislike", item_id=unwanted.id, scope="category"))
        print(f"Less of {unwanted.category}, please:")
        show(me)
        print(f"Why not {unwanted.title}? {me.explain.why_not(unwanted.id)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
