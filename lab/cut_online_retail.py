"""Makes the bundled data from the archives: `python lab/cut_online_retail.py ARCHIVES`.

It writes lab/tactful_lab/data/online-retail, by the rules of
tactful_lab/data_sets/online_retail_subset.py, and data/msweb, which has the published
files, compressed. The same archives give the same bytes.
"""

from __future__ import annotations

import lzma
import sys
import tarfile
from pathlib import Path

from tactful_lab.data_sets import online_retail_subset

BUNDLE = Path(__file__).parent / "tactful_lab" / "data"
PRESET = 9 | lzma.PRESET_EXTREME


def main(archives: Path) -> None:
    """Write both bundled data sets from the folder `archives`."""
    table = _member(archives, "online-retail", "online_retail.csv").decode()
    products, lines = online_retail_subset.select_subset(table)
    products_csv = online_retail_subset.write_products(products)
    lines_csv = online_retail_subset.write_lines(lines)
    _write("online-retail/products.csv.xz", products_csv.encode())
    _write("online-retail/lines.csv.xz", lines_csv.encode())
    visits = "anonymous-msweb.data"
    _write(f"msweb/{visits}.xz", _member(archives, "msweb", visits))


def _member(archives: Path, name: str, member: str) -> bytes:
    with tarfile.open(archives / f"{name}.tar.xz") as archive:
        stream = archive.extractfile(f"{name}/{member}")
        return stream.read() if stream is not None else b""


def _write(name: str, content: bytes) -> None:
    path = BUNDLE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(content, preset=PRESET))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
