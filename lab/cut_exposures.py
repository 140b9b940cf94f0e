"""Cut the exposure logs from the packed archives: `python lab/cut_exposures.py ARCHIVES`.

Writes lab/tactful_lab/data/exposures: who was shown what and when, and what they clicked. Needs
pyarrow for the news log. The same archives give the same bytes.
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
    """Write both logs from the folder of packed `archives`."""
    _write("ebnerd-sample", sorted(_news(archives)))
    _write("completejourney", sorted(_campaigns(archives)))


def _news(archives: Path) -> Iterator[Row]:
    """Each article in view in an impression of the page; a click where it was clicked in it."""
    body = io.BytesIO(_member(archives, "ebnerd-sample", "behaviors.parquet"))
    parquet = import_module("pyarrow.parquet")  # only needed here, by whoever cuts anew
    for seen in parquet.read_table(body).to_pylist():
        at = seen["impression_time"].isoformat()
        for article in dict.fromkeys(seen["article_ids_inview"]):
            clicked = article in seen["article_ids_clicked"]
            yield f"{seen['user_id']}", f"{article}", at, int(clicked)


def _campaigns(archives: Path) -> Iterator[Row]:
    """Each campaign sent to a household, on its first day; a click where a coupon was redeemed."""
    starts = {
        row["campaign_id"]: row["start_date"]
        for row in _table(archives, "campaign_descriptions")
    }
    redeemed = {
        (r["household_id"], r["campaign_id"])
        for r in _table(archives, "coupon_redemptions")
    }
    for sent in _table(archives, "campaigns"):
        person, campaign = sent["household_id"], sent["campaign_id"]
        begins = datetime.combine(
            date.fromisoformat(starts[campaign]), time()
        ) + timedelta(hours=9)
        yield person, campaign, begins.isoformat(), int((person, campaign) in redeemed)


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
    packed = lzma.compress(text.getvalue().encode(), preset=9 | lzma.PRESET_EXTREME)
    (BUNDLE / f"{name}.csv.xz").write_bytes(packed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
