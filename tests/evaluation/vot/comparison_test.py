import dataclasses

import pytest
from toy_vot import sequence

from jaxtrack.data.located import NoImages
from jaxtrack.data.regionfiles import regions
from jaxtrack.data.vot import VotBenchmark
from jaxtrack.errors import UserError
from jaxtrack.evaluation.vot import comparison, measures

BEYOND = [300, 100, 40, 40]  # of the toys' 320 columns; a shift by 20 leaves a half of it, and none inside the image
RESULTS = [regions([[1], BEYOND, [320, 100, 40, 40]])]


def scored(toy, edition):
    toys = VotBenchmark(f"vot{edition}", "toys", [toy], edition=edition, complete=False)
    return comparison.score_all({"toy": RESULTS}, toys, measures.rules_of(edition))["toy"]


def test_where_regions_are_not_bounded_nobody_needs_the_images():
    toy = sequence(3, truth=[BEYOND] * 3)
    unseen = dataclasses.replace(toy, frames=NoImages("toy", 3, ", nobody knows the size"), stated_size=None)
    for each in (toy, unseen):
        assert scored(each, 2015).overlaps[0, 1:].tolist() == pytest.approx([1, 1 / 3], abs=0.02)
    assert scored(toy, 2016).overlaps[0, 1:].tolist() == [1, 0]
    with pytest.raises(UserError, match="toy: the images are not there, nobody knows the size"):
        scored(unseen, 2016)
