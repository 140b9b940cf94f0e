"""A feed in a shop's app: it learns on the device, says why, and knows when to stop.

python examples/feed.py [FOLDER]   (data: 1,000 products of a real shop, online-retail, CC0)
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
    """The shop's catalog: an id and a title are enough, the rest helps."""
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


def opened(folder: Path) -> Personalizer:
    """The person's device, as the app opens it at each start; nothing of it needs a network."""
    return Personalizer(
        products(),
        Settings(path=str(folder / "taste.db")),
        key=KeyFile(folder / "taste.key"),
        consent=Consent.to(
            "local_profile", "local_personalization"
        ),  # what the person said yes to
    )


def show(me: Personalizer, n: int = 4) -> list[str]:
    """One screen of the feed; what was drawn is told, what was not may come back at once."""
    drawn = []
    for pick in me.recommend(n, surface="home"):
        print(
            f"  {pick.item.title} - {', '.join(str(reason) for reason in pick.reasons)}"
        )
        me.observe(pick.impression())
        drawn.append(pick.item.id)
    return drawn


def main(folder: Path) -> None:
    """Two starts of the app."""
    with opened(folder) as me:
        print("Nothing is known yet:")
        show(me)

        me.observe(Event(kind="purchase", item_id="22423"))  # Regency cakestand 3 tier
        me.observe(
            Event(kind="like", item_id="85123A")
        )  # White hanging heart t-light holder
        print("One thing bought, one liked:")
        first = show(me)

    with opened(folder) as me:
        print("After a restart:")
        again = show(me)
        print(f"  {len(set(first) & set(again))} of them were on the last screen")

        unwanted = me.catalog[again[0]]
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
