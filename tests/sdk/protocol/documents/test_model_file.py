"""A model's file: the safetensors layout, read within bounds, and nothing else."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from safetensors.numpy import load, save

from tactful.errors import DecodeError
from tactful.protocol.documents.model_release import (
    MAX_ARRAYS,
    MAX_HEADER,
    pack,
    unpack,
)

DTYPES = [np.float32, np.float64, np.int32, np.int64]
Arrays = dict[str, NDArray[np.generic]]

arrays = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(
        "__metadata__".__ne__
    ),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: npst.arrays(
            dtype, npst.array_shapes(max_dims=3, min_side=0, max_side=4)
        )
    ),
    max_size=4,
)
ARRAYS: Arrays = {
    "basis": np.arange(6, dtype=np.float32).reshape(2, 3),
    "head": np.arange(4, dtype=np.int32),
}


def same(ones: Arrays, others: Arrays) -> bool:
    return ones.keys() == others.keys() and all(
        (ones[name].dtype, ones[name].shape, ones[name].tobytes())
        == (others[name].dtype, others[name].shape, others[name].tobytes())
        for name in ones
    )


def file(header: object, body: bytes = b"", *, size: int | None = None) -> bytes:
    """A file with this header in front of `body`, claiming `size` bytes of header."""
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (
        (len(written) if size is None else size).to_bytes(8, "little") + written + body
    )


def entry(
    start: object, end: object, shape: object = (1,), dtype: object = "F32"
) -> object:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@given(arrays=arrays)
@settings(max_examples=50)
def test_what_is_packed_comes_back(arrays: Arrays) -> None:
    assert same(unpack(pack(arrays)), arrays)


@given(arrays=arrays)
@settings(max_examples=50)
def test_the_library_reads_what_we_write(arrays: Arrays) -> None:
    assert same(load(pack(arrays)), arrays)


@given(arrays=arrays)
@settings(max_examples=50)
def test_we_read_what_the_library_writes(arrays: Arrays) -> None:
    assert same(unpack(save(arrays)), arrays)


def test_the_same_arrays_are_the_same_bytes_in_any_order() -> None:
    assert pack(ARRAYS) == pack(dict(reversed(ARRAYS.items())))


def test_the_bytes_of_a_column_are_those_of_its_values() -> None:
    columns = np.asfortranarray(ARRAYS["basis"])

    assert pack({"basis": columns}) == pack({"basis": ARRAYS["basis"]})


CRIMES = {
    "nothing": b"",
    "seven bytes": bytes(7),
    "a header longer than the file": file({}, size=100),
    "a header of exabytes": b"\xff" * 8,
    "a header larger than allowed": file(b" " * (MAX_HEADER + 1)),
    "a header that is no JSON": file(b"{nope"),
    "a header that is a list": file([entry(0, 4)], bytes(4)),
    "a header that is not UTF-8": file(b'{"\xff": 1}'),
    "an entry that is no object": file({"a": 1}),
    "an overlap": file({"a": entry(0, 4), "b": entry(2, 6)}, bytes(6)),
    "the same bytes twice": file({"a": entry(0, 4), "b": entry(0, 4)}, bytes(4)),
    "a gap": file({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)),
    "a gap at the start": file({"a": entry(4, 8)}, bytes(8)),
    "bytes after the last": file({"a": entry(0, 4)}, bytes(8)),
    "an end beyond the file": file({"a": entry(0, 8, [2])}, bytes(4)),
    "an end before its start": file({"a": entry(0, -4)}, bytes(4)),
    "a negative start": file({"a": entry(-4, 4)}, bytes(4)),
    "an unknown dtype": file({"a": entry(0, 4, [1], "F16")}, bytes(4)),
    "a dtype that runs code": file({"a": entry(0, 4, [1], "O")}, bytes(4)),
    "a dtype that is a list": file({"a": entry(0, 4, [1], ["F32"])}, bytes(4)),
    "a size that is no multiple": file({"a": entry(0, 3)}, bytes(3)),
    "another shape than its bytes": file({"a": entry(0, 4, [2])}, bytes(4)),
    "a shape of fractions": file({"a": entry(0, 4, [1.0])}, bytes(4)),
    "a shape of text": file({"a": entry(0, 4, "1")}, bytes(4)),
    "offsets of text": file({"a": entry("0", "4")}, bytes(4)),
    "offsets of fractions": file({"a": entry(0.0, 4.0)}, bytes(4)),
    "no offsets": file({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)),
    "one offset": file(
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}, bytes(4)
    ),
    "too many arrays": file({str(n): entry(0, 0, [0]) for n in range(MAX_ARRAYS + 1)}),
}


@pytest.mark.parametrize("body", CRIMES.values(), ids=CRIMES)
def test_a_file_that_does_not_fit_exactly_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError, match=r"^model file: "):
        unpack(body)


def test_a_file_cut_anywhere_is_refused() -> None:
    whole = pack(ARRAYS)

    for length in range(len(whole)):
        with pytest.raises(DecodeError):
            unpack(whole[:length])


@given(body=st.binary(max_size=200), header=st.binary(max_size=60))
def test_from_noise_only_decode_errors_escape(body: bytes, header: bytes) -> None:
    for noise in (body, file(header, body)):
        try:
            unpack(noise)
        except DecodeError:
            continue


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
values = scalars | st.lists(scalars | st.lists(scalars, max_size=2), max_size=3)
headers = st.dictionaries(
    st.text(max_size=4),
    values
    | st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "F64", "I32", "I64"]) | values,
            "shape": st.lists(st.integers(-2, 2**65), max_size=3) | values,
            "data_offsets": st.tuples(st.just(0), st.sampled_from([0, 4, 8])) | values,
        }
    ),
    max_size=3,
)


@given(header=headers, body=st.sampled_from([b"", bytes(4), bytes(8)]))
@settings(max_examples=300)
def test_from_any_header_only_decode_errors_escape(
    header: dict[str, object], body: bytes
) -> None:
    try:
        unpack(file(header, body))
    except DecodeError:
        return


def test_a_header_buried_in_brackets_is_refused() -> None:
    with pytest.raises(DecodeError):
        unpack(file(b"[" * MAX_HEADER))


def test_a_shape_of_truths_is_refused() -> None:
    with pytest.raises(DecodeError):
        unpack(file({"a": entry(0, 4, [True])}, bytes(4)))


@pytest.mark.parametrize("shape", [[-1], 1], ids=["any side", "no list"])
def test_a_shape_that_names_no_sizes_is_refused(shape: object) -> None:
    with pytest.raises(DecodeError):
        unpack(file({"a": entry(0, 4, shape)}, bytes(4)))


def test_a_side_beyond_every_memory_is_refused() -> None:
    with pytest.raises(DecodeError):
        unpack(file({"a": entry(0, 0, [0, 2**70])}))
