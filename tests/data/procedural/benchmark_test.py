import jax
import numpy as np
import pytest
from procedural_scenes import NAMES, changed_pixels, scene, sequence, with_challenge

from jaxtrack.data.procedural import BENCHMARKS, benchmark

OTB_ATTRIBUTES = {"IV", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OPR", "OV", "BC", "LR"}


# The list of sequences


def test_lists_the_same_scenes_short_and_long():
    short, full = BENCHMARKS["procedural"](None), BENCHMARKS["procedural-full"](None)
    assert (len(short.sequences), len(full.sequences)) == (16, 48)
    assert {len(s) for s in short.sequences} == {30}
    assert {len(s) for s in full.sequences} == {300}
    assert len({s.name for s in full.sequences}) == 48
    for one, other in zip(short.sequences, full.sequences, strict=False):
        assert one.name == other.name
        np.testing.assert_array_equal(one.boxes, other.boxes[:30])


def test_every_otb_attribute_has_the_sequence_named_after_it():
    for attribute in OTB_ATTRIBUTES:
        assert attribute in sequence(attribute.lower()).attributes
    assert set().union(*(sequence(name).attributes for name in NAMES)) == OTB_ATTRIBUTES


@pytest.mark.parametrize("which", ["procedural", "procedural-full"])
def test_measurable_attributes_are_true_by_otbs_definitions(which):
    for one in BENCHMARKS[which](None).sequences:
        found, previous, first = set(), None, one.boxes[0]
        for (x, y, w, h), valid in zip(one.boxes, one.valid, strict=True):
            if not valid or x <= 0 or y <= 0 or x + w >= 320 or y + h >= 240:
                found.add("OV")
                previous = None
                continue
            if not 0.5 <= (w * h) / (first[2] * first[3]) <= 2:
                found.add("SV")
            if w * h < 400:
                found.add("LR")
            centre = (x + w / 2, y + h / 2)
            if previous and ((centre[0] - previous[0]) ** 2 + (centre[1] - previous[1]) ** 2) ** 0.5 > 20:
                found.add("FM")
            previous = centre
        assert one.attributes & {"SV", "FM", "LR", "OV"} == found, one.name


def test_programs_that_render_are_kept_between_processes(no_compilation_cache):
    benchmark._benchmark.cache_clear()
    assert jax.config.jax_compilation_cache_dir is None
    BENCHMARKS["procedural"](None)
    assert jax.config.jax_compilation_cache_dir == str(no_compilation_cache / "jaxtrack" / "xla")


def test_attributes_of_a_few_boxes_worked_out_by_hand():
    def labels(*boxes, valid=True):
        boxes = np.array(boxes, float)
        return benchmark.measured_attributes(boxes, np.full(len(boxes), True) & valid)

    first = (100, 100, 40, 20)
    assert labels(first, (120, 100, 40, 20)) == set()
    assert labels(first, (120.5, 100, 40, 20)) == {"FM"}
    assert labels(first, (100, 100, 40, 40)) == set()
    assert labels(first, (100, 100, 40, 41)) == {"SV"}
    assert labels(first, (100, 100, 39, 10)) == {"SV", "LR"}
    assert labels(first, (115, 95, 20, 19)) == {"SV", "LR"}
    assert labels((100, 100, 20, 20), (100, 100, 19, 20)) == {"LR"}
    # Cut by the border: neither its area nor its motion tells of the target itself.
    assert labels(first, (300, 100, 20, 5)) == {"OV"}
    assert labels(first, (0, 0, 0, 0), first, valid=[True, False, True]) == {"OV"}


def test_the_target_that_leaves_comes_back_and_is_not_valid_while_away():
    away = sequence("ov")
    assert away.valid[0]
    assert away.valid[-1]
    assert not away.valid.all()
    np.testing.assert_array_equal(away.boxes[~away.valid], 0)
    low, high = away.boxes[away.valid][:, :2], away.boxes[away.valid].reshape(-1, 2, 2).sum(axis=1)
    assert (low >= 0).all()
    assert (high <= (320, 240)).all()


def test_frames_say_where_they_end():
    frames = sequence("iv").frames
    assert len(list(range(len(frames)))) == 30
    with pytest.raises(IndexError):
        frames[30]
    np.testing.assert_array_equal(frames[-1], frames[29])


# Images


def test_images_are_the_same_bits_whatever_the_order_of_access():
    one = sequence("chase")
    forwards = [one[i] for i in (0, 3, 9, 20)]
    benchmark._images.cache_clear()
    benchmark.draw_scene.cache_clear()
    backwards = [one[i] for i in (20, 9, 3, 0)]
    for image, again in zip(forwards, reversed(backwards), strict=True):
        assert image.dtype == np.uint8
        assert image.shape == (240, 320, 3)
        np.testing.assert_array_equal(image, again)
    assert (forwards[0] != forwards[1]).mean() > 0.5


def test_writing_into_an_image_does_not_change_the_benchmark():
    image = sequence("chase")[2]
    before = image.copy()
    image[:] = 0
    np.testing.assert_array_equal(sequence("chase")[2], before)


def test_grey_sequences_have_equal_channels_and_others_do_not():
    for name, grey in (("grey", True), ("night", True), ("occ", False)):
        image = sequence(name)[4].astype(int)
        assert (np.ptp(image, axis=-1) == 0).all() == grey, name


def test_light_varies_where_the_label_says_so():
    def spread(name):
        levels = [sequence(name)[i].mean() for i in range(0, 24, 4)]
        return max(levels) / min(levels)

    assert spread("iv") > 1.4
    assert spread("opr") < 1.1


def occluded_fraction(name, t):
    """How much of the target's box an occluder changes, by rendering with and without it."""
    changed = changed_pixels(scene(name), with_challenge(scene(name), occluders=0), t)
    x, y, w, h = sequence(name).boxes[t].round().astype(int)
    return changed[y : y + h, x : x + w].mean()


def test_in_the_first_frame_the_target_is_wholly_in_view_and_unoccluded():
    for one, name in zip(BENCHMARKS["procedural"](None).sequences, NAMES, strict=True):
        x, y, w, h = one.boxes[0]
        assert one.valid[0]
        assert x > 0
        assert y > 0
        assert x + w < 320
        assert y + h < 240
        if "OCC" in one.attributes:
            assert occluded_fraction(name, 0) == 0.0


@pytest.mark.parametrize("name", ["occ", "crowd", "chase", "grey"])
def test_occluders_hide_the_target_of_sequences_that_are_labelled_so(name):
    assert max(occluded_fraction(name, t) for t in (12, 14, 16)) > 0.3
