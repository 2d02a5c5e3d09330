import contextlib
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from unibind.errors import InvalidInputError
from unibind.modalities.numpy_files import read_npy, read_npz


def npy(array, **options) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(**members) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **members)
    return buffer.getvalue()


@given(array=arrays.arrays(st.sampled_from(["<f4", ">i2", "u1", "?"]), arrays.array_shapes()))
@settings(max_examples=50, deadline=None)
def test_an_array_comes_back_as_it_was_in_either_order(array):
    for each in (array, np.asfortranarray(array)):
        np.testing.assert_array_equal(read_npy(npy(each), max_bytes=10**6), array)
    np.testing.assert_array_equal(read_npz(npz(a=array), max_bytes=10**6)["a"], array)


@pytest.mark.parametrize(
    ("shape", "telling"),
    [
        ("(9, 9)", r"shape \(9, 9\) .* 324 bytes, but 32 follow"),
        ("(99999999999,)", "at most 1,000,000 are read"),
        ("(99999999999999999999999,)", "at most 1,000,000 are read"),
        ("(-1, 4)", "at most 1,000,000 are read"),
    ],
)
def test_a_forged_shape_is_refused_before_memory_is_taken(shape, telling):
    content = npy(np.zeros((2, 4), np.float32))
    padded = b"(2, 4), }".ljust(len(shape) + 9)
    forged = content.replace(padded, f"{shape}, }}".encode().ljust(len(padded)))
    assert forged != content
    with pytest.raises(InvalidInputError, match=telling):
        read_npy(forged, max_bytes=10**6)


def test_objects_are_never_unpacked():
    with pytest.raises(InvalidInputError, match="Python objects, which are never unpacked"):
        read_npy(npy(np.array([{}], dtype=object)), max_bytes=10**6)


def test_a_bomb_is_refused_by_what_its_directory_says():
    with pytest.raises(InvalidInputError, match="unpacks to 10,000,128 bytes"):
        read_npz(npz(a=np.zeros(10**7, np.uint8)), max_bytes=10**6)


@pytest.mark.parametrize("n_bytes", [7, 20, 100, -1])
def test_a_truncated_file_is_refused(n_bytes):
    with pytest.raises(InvalidInputError, match=r"truncated|damaged"):
        read_npy(npy(np.zeros(9))[:n_bytes], max_bytes=10**6)
    with pytest.raises(InvalidInputError, match=r"truncated|damaged"):
        read_npz(npz(a=np.zeros(9))[:n_bytes], max_bytes=10**6)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_bytes_are_an_array_or_an_error(data):
    content = bytearray(npy(np.arange(6.0)))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidInputError):
        assert isinstance(read_npy(bytes(content), max_bytes=10**6), np.ndarray)


def test_an_encrypted_archive_is_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", npy(np.zeros(3)))
    content = bytearray(buffer.getvalue())
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        content[content.index(signature) + offset] |= 1
    with pytest.raises(InvalidInputError, match="cannot be unpacked"):
        read_npz(bytes(content), max_bytes=10**6)
