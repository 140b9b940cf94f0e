"""Cut the bundled data from the packed archives: `python lab/cut_online_retail.py ARCHIVES`.

Writes lab/tactful_lab/data/online-retail (rules in tactful_lab/retail.py) and data/msweb (the
published files, only compressed). The same archives give the same bytes.
"""

from __future__ import annotations

import lzma
import sys
import tarfile
from pathlib import Path

from tactful_lab.data_sets import online_retail_subset

BUNDLE = Path(__file__).parent / "tactful_lab" / "data"
HARDEST = 9 | lzma.PRESET_EXTREME


def main(archives: Path) -> None:
    """Write both bundled sets from the folder of packed `archives`."""
    products, lines = online_retail_subset.cut(
        _member(archives, "online-retail", "online_retail.csv").decode()
    )
    _write(
        "online-retail/products.csv.xz",
        online_retail_subset.write_products(products).encode(),
    )
    _write(
        "online-retail/lines.csv.xz", online_retail_subset.write_lines(lines).encode()
    )
    visits = "anonymous-msweb.data"
    _write(f"msweb/{visits}.xz", _member(archives, "msweb", visits))


def _member(archives: Path, name: str, member: str) -> bytes:
    with tarfile.open(archives / f"{name}.tar.xz") as archive:
        stream = archive.extractfile(f"{name}/{member}")
        return stream.read() if stream is not None else b""


def _write(name: str, content: bytes) -> None:
    path = BUNDLE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(content, preset=HARDEST))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
