import numpy as np
import pytest

from jaxtrack.data.vot import table
from jaxtrack.errors import UserError
from jaxtrack.evaluation.vot import interval


@pytest.mark.parametrize(("edition", "width"), [(2015, 73.565), (2018, 77.471)])
def test_the_estimate_from_an_editions_lengths_is_the_interval_it_prints(edition, width):
    lengths = list(table()[edition].values())
    assert interval.bandwidth(np.array(lengths, np.float64)) == pytest.approx(width, abs=5e-4)
    assert interval.estimate(lengths) == interval.PRINTED[edition]


def test_equal_lengths_make_an_interval_of_one():
    assert interval.estimate([50, 50]) == (50, 50)
    assert interval.estimate([50]) == (50, 50)


@pytest.mark.parametrize(
    ("text", "edition", "complete", "chosen"),
    [
        ("", 2018, True, (100, 356)),
        ("", 2018, False, (40, 40)),
        ("auto", 2018, True, (40, 40)),
        ("114-378", 2015, True, (114, 378)),
        (" 2 - 2 ", 2018, True, (2, 2)),
        ("", 2013, True, None),
        ("", 2014, False, None),
        ("auto", 2013, True, (40, 40)),
    ],
)
def test_the_interval_is_the_editions_or_what_is_asked_for(text, edition, complete, chosen):
    assert interval.choose(text, edition, [40, 40], complete=complete) == chosen


@pytest.mark.parametrize("text", ["100", "356-100", "1-20", "a-b", "100,356", "-5"])
def test_another_interval_is_refused(text):
    with pytest.raises(UserError, match="the EAO interval must be LOW-HIGH with 2 <= LOW <= HIGH, or auto"):
        interval.choose(text, 2018, [40], complete=True)
