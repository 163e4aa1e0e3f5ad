"""What is timed as a part of TADT is what the tracker does."""

import numpy as np
import pytest
import tadt_parts


@pytest.fixture(scope="module")
def parts():
    return tadt_parts.parts("tadt_nano")


def result(part):
    program, given = part
    return program(*given)


def test_the_timed_template_is_the_trackers(parts):
    early, late = parts
    template = late["match"][1][2]
    assert float(np.abs(template).max()) > 0
    np.testing.assert_allclose(result(early["template"]), template, rtol=1e-4, atol=1e-4 * np.abs(template).max())


def test_without_the_selection_all_channels_are_matched(parts):
    early, late = parts
    maps = result(early["network"])
    (first, second), _, whole, _ = late["match, all channels"][1]
    assert [len(one.index) for one in (first, second)] == [one.shape[2] for one in maps]
    assert len(whole) == sum(one.shape[2] for one in maps) > len(late["match"][1][2])


def test_a_part_is_its_median_and_its_operations(monkeypatch):
    square = tadt_parts.Program(lambda x: x @ x)
    taken = iter([9.0, 1.0, 3.0, 2.0])  # the first call compiles and does not count
    monkeypatch.setattr(tadt_parts, "timed", lambda call: next(taken))
    seconds, gflop = tadt_parts.measure({"square": (square, (np.ones((100, 100), np.float32),))}, 3)["square"]
    assert seconds == 2.0
    assert gflop == pytest.approx(2 * 100**3 / 1e9, rel=0.05)
