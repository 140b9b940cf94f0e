"""Makes the bundled exposure logs: `python lab/cut_exposures.py ARCHIVES`.

It writes lab/tactful_lab/data/exposures: impressions with person, item, time and click.
The news log needs pyarrow. The same archives give the same bytes.
"""

from __future__ import annotations

import csv
import io
import lzma
import sys
import tarfile
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from importlib import import_module
from pathlib import Path

BUNDLE = Path(__file__).parent / "tactful_lab" / "data" / "exposures"
Row = tuple[str, str, str, int]  # person, item, time, 1 for a click or redemption


def main(archives: Path) -> None:
    """Write both logs from the folder `archives`."""
    _write("ebnerd-sample", sorted(_news(archives)))
    _write("completejourney", sorted(_campaigns(archives)))


def _news(archives: Path) -> Iterator[Row]:
    """Yield each article in view of each page impression, with 1 if it was clicked."""
    body = io.BytesIO(_member(archives, "ebnerd-sample", "behaviors.parquet"))
    # pyarrow is not a dependency: only this function needs it.
    parquet = import_module("pyarrow.parquet")
    for page in parquet.read_table(body).to_pylist():
        at = page["impression_time"].isoformat()
        for article in dict.fromkeys(page["article_ids_inview"]):
            clicked = article in page["article_ids_clicked"]
            yield f"{page['user_id']}", f"{article}", at, int(clicked)


def _campaigns(archives: Path) -> Iterator[Row]:
    """Yield each campaign of each household, with 1 if a coupon of it was redeemed.

    The time is 9:00 on the first day of the campaign.
    """
    descriptions = _table(archives, "campaign_descriptions")
    starts = {row["campaign_id"]: row["start_date"] for row in descriptions}
    redemptions = _table(archives, "coupon_redemptions")
    redeemed = {(row["household_id"], row["campaign_id"]) for row in redemptions}
    for row in _table(archives, "campaigns"):
        person, campaign = row["household_id"], row["campaign_id"]
        first_day = datetime.combine(date.fromisoformat(starts[campaign]), time())
        at = first_day + timedelta(hours=9)
        yield person, campaign, at.isoformat(), int((person, campaign) in redeemed)


def _table(archives: Path, name: str) -> Iterable[dict[str, str]]:
    text = _member(archives, "completejourney", f"{name}.csv").decode()
    return csv.DictReader(io.StringIO(text))


def _member(archives: Path, name: str, member: str) -> bytes:
    with tarfile.open(archives / f"{name}.tar.xz") as archive:
        stream = archive.extractfile(f"{name}/{member}")
        return stream.read() if stream is not None else b""


def _write(name: str, rows: list[Row]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("person", "item", "at", "clicked"))
    table.writerows(rows)
    preset = 9 | lzma.PRESET_EXTREME
    content = lzma.compress(text.getvalue().encode(), preset=preset)
    (BUNDLE / f"{name}.csv.xz").write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
