"""Readers refuse damaged files with an error that names them."""

import lzma
import tarfile
from pathlib import Path

import pytest

from tactful.errors import DatasetError
from tactful_lab.data_sets import readers


def test_an_archive_without_a_needed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "msweb.tar.xz"
    with tarfile.open(path, "w:xz"):
        pass

    with pytest.raises(DatasetError, match=r"does not contain anonymous-msweb\.data"):
        readers.msweb(readers.unpack(path, "msweb"))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "msweb.tar.xz"
    path.write_bytes(lzma.compress(b"no archive"))

    with pytest.raises(DatasetError, match="cannot be unpacked"):
        readers.unpack(path, "msweb")


def test_a_missing_bundled_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="install the package again"):
        readers.Bundle(tmp_path).read("lines.csv")


def test_a_table_without_rows_can_be_read() -> None:
    assert readers._table(b"a,b\n", ",", (0, 1)).shape == (0, 2)
    assert readers._table(b"a,b\n1,2\n", ",", (1,)).tolist() == [[2]]
