"""Files are written by SciPy's own writer."""

import contextlib
import random
import zlib

import numpy as np
import pytest
import scipy.io

from jaxtrack.errors import UserError
from jaxtrack.weights import matlab

NUMBERS = np.random.default_rng(0).normal(size=(3, 2, 4)).astype(np.float32)


def content():
    cell = np.empty((2, 3), object)
    for index in np.ndindex(2, 3):
        cell[index] = np.array([[10.0 * index[0] + index[1]]])
    records = np.empty((1, 2), [("name", object), ("value", object)])
    records[0] = [("first", NUMBERS), ("second", {"inner": "deep"})]
    return {
        "numbers": NUMBERS,
        "double": np.arange(6.0).reshape(2, 3),
        "integers": np.array([[-3, 200]], np.int16),
        "logical": np.array([[True, False]]),
        "text": "ändern",
        "nothing": "",
        "empty": np.zeros((0, 3)),
        "cell": cell,
        "records": records,
        "complex": np.array([[1 + 2j]]),
    }


@pytest.fixture
def save(tmp_path):
    def saved(variables, **options):
        path = tmp_path / "x.mat"
        scipy.io.savemat(path, variables, **options)
        return path

    return saved


@pytest.mark.parametrize("compressed", [False, True])
def test_values_are_those_that_were_written(save, compressed):
    found = matlab.read(save(content(), do_compression=compressed), content())
    assert list(found) == list(content())
    for name in ("numbers", "double", "integers"):
        np.testing.assert_array_equal(found[name], content()[name], strict=True)
    np.testing.assert_array_equal(found["logical"], [[1, 0]])
    assert (found["text"], found["nothing"], found["empty"].shape) == ("ändern", "", (0, 3))
    assert [value.item() for value in found["cell"]] == [0, 10, 1, 11, 2, 12]  # columns first
    first, second = found["records"]
    assert first["name"] == "first"
    np.testing.assert_array_equal(first["value"], NUMBERS, strict=True)
    assert second == {"name": "second", "value": ({"inner": "deep"},)}
    assert found["complex"] is None


def test_only_what_is_asked_for_is_read(save):
    assert list(matlab.read(save(content()), ["text", "other"])) == ["text"]


def test_numbers_of_the_other_byte_order(save, tmp_path):
    little = save({"a": np.array([[1.5, -2.0, 3.25]])}).read_bytes()
    words = np.frombuffer(little[128:], "<u4").byteswap().tobytes()
    # Doubles are two words, which change places; the small element of the name is a word and its bytes.
    at = len(words) - 24
    doubles = np.frombuffer(little[128 + at :], "<f8").byteswap().tobytes()
    name = little[128 + at - 16 :][:8]
    assert name[4:5] == b"a"
    name = np.frombuffer(name[:4], "<u4").byteswap().tobytes() + name[4:]
    body = words[: at - 16] + name + words[at - 8 : at] + doubles
    (tmp_path / "big.mat").write_bytes(little[:124] + b"\x01\x00MI" + body)
    np.testing.assert_array_equal(matlab.read(tmp_path / "big.mat", "a")["a"], [[1.5, -2.0, 3.25]])


# --- what is no such file ---------------------------------------------------------------------------------------


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*none\.mat$"):
        matlab.read(tmp_path / "none.mat", "a")
    with pytest.raises(UserError, match="cannot read"):
        matlab.read(tmp_path, "a")


@pytest.mark.parametrize("start", [b"", b"MATLAB 7.3 MAT-file".ljust(512)])
def test_a_file_of_matlab_7_3_is_refused_by_name(tmp_path, start):
    (tmp_path / "x.mat").write_bytes(start + b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(UserError, match=r"x\.mat is of MATLAB 7\.3 .* save it again by save\(\.\.\., '-v7'\)$"):
        matlab.read(tmp_path / "x.mat", "a")


def words(*numbers):
    return np.array(numbers, "<i4").tobytes()


def array(kind=6, shape=(1, 1), rest=b""):
    """An array without a name, of the class `kind` (6: double)."""
    body = words(6, 8, kind, 0) + words(5, 4 * len(shape), *shape) + words(0) * (len(shape) % 2) + words(1, 0) + rest
    return words(14, len(body)) + body


DOUBLE = words(9, 8, 0, 0)
HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"


def nested(depth):
    out = array(rest=DOUBLE)
    for _ in range(depth):
        out = array(1, rest=out)
    return out


def test_the_arrays_of_these_tests_are_read(tmp_path):
    (tmp_path / "x.mat").write_bytes(HEADER + nested(30))
    assert list(matlab.read(tmp_path / "x.mat", [""])) == [""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its header is not MATLAB's"),
        (b"<html>404</html>" * 50, "its header is not MATLAB's"),
        (HEADER + words(9, 8, 0, 0), "an element of type 9 stands where a variable should"),
        (HEADER + words(14, 100, 0, 0), "an element of 100 bytes begins 8 bytes before the end"),
        (HEADER + words(14, -1, 0, 0), "an element of 4294967295 bytes begins 8 bytes before the end"),
        (HEADER + b"\x0e\x00\x09\x00" + bytes(40), "an element of 9 bytes begins"),
        (HEADER + words(14), "4 bytes are not 2 numbers"),
        (HEADER + array(rest=b""), "an array ends before its content"),
        (HEADER + array(shape=(2, 1), rest=DOUBLE), "8 bytes are not 2 numbers of float64"),
        (HEADER + array(shape=(2**30, 2**30), rest=DOUBLE), "8 bytes are not 1152921504606846976 numbers"),
        (HEADER + array(shape=(-1, -1), rest=DOUBLE), r"an array has the shape \[-1, -1\]"),
        (HEADER + array(shape=(1,), rest=DOUBLE), r"an array has the shape \[1\]"),
        (HEADER + array(shape=(1,) * 40, rest=DOUBLE), "an array has the shape"),
        (HEADER + array(rest=words(14, 0)), "an array's numbers are of type 14"),
        (HEADER + array(1, rest=DOUBLE), "an element of type 9 stands where an array should"),
        (HEADER + array(1, (2**30, 2**30), array(rest=DOUBLE)), "an array ends before its content"),
        (HEADER + array(2, rest=words(5, 4, 0, 0) + words(1, 0)), "names of 0 bytes do not fit"),
        (HEADER + array(2, rest=words(5, 4, 3, 0) + words(1, 4, 0, 0)), "names of 3 bytes do not fit 4 bytes"),
        (HEADER + array(4, rest=words(9, 0)), "a text is of type 9"),
        (HEADER + array(4, rest=words(16, 1, 255, 0)), "a text is none"),
        (HEADER + nested(40), "more than 32 deep"),
        (HEADER + words(15, 8, 1, 2), "its compressed data are damaged"),
        (HEADER + words(15, 6) + zlib.compress(bytes(100))[:6], "its compressed data have no end"),
    ],
)
def test_what_is_no_matlab_file(tmp_path, content, message):
    (tmp_path / "x.mat").write_bytes(content)
    with pytest.raises(UserError, match=f"x.mat is cut off or damaged, or no MATLAB file: .*{message}"):
        matlab.read(tmp_path / "x.mat", [""])


def test_what_is_not_asked_for_may_be_of_any_size(tmp_path):
    (tmp_path / "x.mat").write_bytes(HEADER + array(shape=(2**30, 2**30), rest=DOUBLE))
    assert matlab.read(tmp_path / "x.mat", ["a"]) == {}


def test_structs_without_fields_cost_nothing(tmp_path):
    rest = words(5, 4, 8, 0) + words(1, 0)
    (tmp_path / "x.mat").write_bytes(HEADER + array(2, (2**30, 2**30), rest))
    assert matlab.read(tmp_path / "x.mat", [""]) == {"": ()}


def compressed(content):
    packed = zlib.compress(content)
    return words(15, len(packed)) + packed


def zeros(count):
    """So many numbers, of bytes."""
    return array(9, (1, count), words(2, count) + bytes(-(-count // 8) * 8))


def test_compressed_data_grow_to_a_megabyte_or_32_times_the_files_size(tmp_path):
    def read(*parts):
        (tmp_path / "x.mat").write_bytes(HEADER + b"".join(parts))
        return matlab.read(tmp_path / "x.mat", [""])[""].shape

    # The header of an array of numbers without a name takes 56 bytes.
    assert read(compressed(zeros(2**20 - 56))) == (1, 2**20 - 56)
    with pytest.raises(UserError, match="its compressed data become more than 1048576 bytes"):
        read(compressed(zeros(2**20)))
    with pytest.raises(UserError, match=r"its compressed data become more than \d+ bytes"):
        read(compressed(zeros(2**19)), compressed(zeros(2**19)))
    noise = np.random.default_rng(0).bytes(2**17)
    unread = array(9, (1, 2**17), words(2, 2**17) + noise)
    assert read(unread, compressed(zeros(2**22 - 56))) == (1, 2**22 - 56)


def test_a_variable_of_more_than_two_gigabytes_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(matlab, "_LARGEST", 1000)
    (tmp_path / "x.mat").write_bytes(HEADER + compressed(zeros(1000)))
    with pytest.raises(UserError, match="its compressed data become more than 1000 bytes"):
        matlab.read(tmp_path / "x.mat", "a")


def test_a_file_has_no_more_than_100000_arrays(tmp_path):
    def read(count):
        (tmp_path / "x.mat").write_bytes(HEADER + compressed(array(1, (1, count), words(14, 0) * count)))
        return matlab.read(tmp_path / "x.mat", [""])[""]

    cell = read(99_999)  # and the cell itself
    assert len(cell) == 99_999
    assert len({id(value) for value in cell}) == 1
    with pytest.raises(UserError, match="it has more than 100000 arrays and names of fields"):
        read(100_000)


def test_names_of_fields_count_as_arrays(tmp_path):
    names = words(5, 4, 1, 0) + words(1, 200_000) + bytes(200_000)
    (tmp_path / "x.mat").write_bytes(HEADER + array(2, (0, 0), names))
    with pytest.raises(UserError, match="it has more than 100000 arrays and names of fields"):
        matlab.read(tmp_path / "x.mat", [""])


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_off_anywhere_is_refused_or_lacks_its_last_variables(save, compressed):
    path = save(content(), do_compression=compressed)
    whole, complete = path.read_bytes(), 0
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        try:
            found = matlab.read(path, content())
        except UserError:
            continue
        complete += 1
        assert len(found) < len(content())
    assert complete < 12


@pytest.mark.parametrize("compressed", [False, True])
def test_bytes_changed_at_random_give_values_or_a_sentence(save, compressed):
    path = save(content(), do_compression=compressed)
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        path.write_bytes(changed)
        with contextlib.suppress(UserError):
            matlab.read(path, content())
