import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.data.procedural import (
    BENCHMARKS,
    Challenge,
    SceneConfig,
    benchmark,
    bodies,
    motion,
    render,
    sample_challenge,
    sample_scene,
    scene_key,
    textures,
)
from jaxtrack.data.procedural.render import paint
from jaxtrack.data.procedural.scene import sample_layout

CONFIG = SceneConfig()
NAMES = [recipe.name.removeprefix("procedural-") for recipe in benchmark.RECIPES]
OTB_ATTRIBUTES = {"IV", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OPR", "OV", "BC", "LR"}


@functools.cache
def sequence(name):
    return next(s for s in BENCHMARKS["procedural"](None).sequences if s.name == f"procedural-{name}")


def scene(name):
    return benchmark.draw_scene(NAMES.index(name))


def with_challenge(drawn, **changes):
    changes = {name: jnp.float32(value) for name, value in changes.items()}
    challenge = dataclasses.replace(drawn.layout.challenge, **changes)
    return dataclasses.replace(drawn, layout=dataclasses.replace(drawn.layout, challenge=challenge))


@jax.jit
def alpha_of_target_alone(layout, look, t):
    """Coverage of the whole image by the target, painted without the window that the renderer uses."""
    columns, rows = (jnp.arange(size, dtype=jnp.float32) + 0.5 for size in (CONFIG.width, CONFIG.height))
    x, y = jnp.meshgrid(columns, rows)
    pose = motion.target_pose(layout, t, CONFIG)
    return paint(layout.body, look.target, look.colours, look.light, pose, x, y, jnp.float32(0))[3]


render_two = jax.jit(jax.vmap(functools.partial(render, config=CONFIG)))


def stack(*scenes):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *scenes)


def changed_pixels(one, other, t):
    """Where two variants of a scene differ at an instant: `bool [H, W]`."""
    steady = [with_challenge(each, noise=0, exposure=0) for each in (one, other)]
    images = np.asarray(render_two(stack(*steady), np.full(2, t, np.float32)).image, int)
    return np.abs(images[0] - images[1]).max(axis=-1) > 1


def mask_box(mask):
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]], float)


def occluded_fraction(name, t):
    """How much of the target's box an occluder changes, by rendering with and without it."""
    changed = changed_pixels(scene(name), with_challenge(scene(name), occluders=0), t)
    x, y, w, h = sequence(name).boxes[t].round().astype(int)
    return changed[y : y + h, x : x + w].mean()


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


def test_a_long_exposure_blurs_what_moves():
    drawn = scene("mb")
    times = jnp.arange(8, dtype=jnp.float32)
    sharpness = [
        np.abs(np.diff(np.asarray(benchmark._render_chunk(one, times, CONFIG), float), axis=2)).mean()
        for one in (with_challenge(drawn, noise=0, exposure=0), with_challenge(drawn, noise=0))
    ]
    assert sharpness[1] < 0.8 * sharpness[0]


def test_vmapped_over_scenes_the_renderer_draws_the_same_frames():
    names, times = ("def", "crowd"), np.array([2, 9], np.float32)
    out = render_two(stack(*(scene(name) for name in names)), times)
    for k, name in enumerate(names):
        t = int(times[k])
        # Fused differently, values an ulp apart may round to neighbouring grey levels.
        difference = np.abs(np.asarray(out.image[k], int) - sequence(name)[t])
        assert np.percentile(difference, 99.5) <= 1, name
        np.testing.assert_allclose(out.box[k], sequence(name).boxes[t], atol=1e-3)
        assert out.visible[k]


# Ground truth against pixels


@pytest.mark.parametrize("name", ["sv", "def", "ipr", "opr", "occ", "grey", "lr", "chase"])
def test_boxes_are_tight_around_the_silhouette(name):
    drawn = scene(name)
    for t in (0, 7, 19, 26):
        alpha = np.asarray(alpha_of_target_alone(drawn.layout, drawn.look, jnp.float32(t)))
        x, y, w, h = mask_box(alpha > 0.5)
        truth = sequence(name).boxes[t]
        corners = np.array([truth[0], truth[1], truth[0] + truth[2], truth[1] + truth[3]])
        np.testing.assert_allclose([x, y, x + w, y + h], corners, atol=1.0)


def test_the_target_in_the_image_is_where_its_silhouette_is():
    drawn = scene("opr")
    gone = dataclasses.replace(drawn, layout=dataclasses.replace(drawn.layout, start=jnp.array([-900.0, 120.0])))
    changed = changed_pixels(drawn, gone, 5)
    alpha = np.asarray(alpha_of_target_alone(drawn.layout, drawn.look, jnp.float32(5)))
    _, top, _, height = sequence("opr").boxes[5]
    upper = slice(0, int(top + height / 2))  # the shadow on the ground lies below
    assert changed[upper][alpha[upper] > 0.9].mean() > 0.97
    assert not changed[upper][alpha[upper] < 0.01].any()


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


# Parts


def some_poses(count=20):
    draw = np.random.default_rng(0).uniform
    for _ in range(count):
        values = [draw(20, 200, 2), draw(8, 60), draw(-1, 1), draw(-3, 3), draw(-1.2, 1.2), draw(0, 6), draw(0, 1)]
        centre, scale, flip, angle, yaw, gait, swing = (jnp.asarray(v, jnp.float32) for v in values)
        yield bodies.Pose(
            centre, scale, jnp.sign(flip), angle, yaw, gait, swing, jnp.asarray(draw(-0.2, 0.2, 2), jnp.float32)
        )


def test_image_to_body_undoes_body_to_image():
    x, y = np.random.default_rng(1).uniform(-1, 1, (2, 50)).astype(np.float32)
    there_and_back = jax.jit(lambda pose: bodies.image_to_body(pose, *bodies.body_to_image(pose, x, y)))
    for pose in some_poses():
        np.testing.assert_allclose(there_and_back(pose), (x, y), atol=2e-4)


def test_outlines_are_circles_and_squircles_of_the_table_s_sizes():
    zero, one = jnp.zeros(()), jnp.ones(())
    pose = bodies.Pose(jnp.array([50.0, 40.0]), 10 * one, one, zero, zero, zero, zero, jnp.zeros(2))
    outline = jax.jit(lambda index: bodies.outline(bodies.body(index), pose))
    bounds = jax.jit(lambda index: bodies.bounds(bodies.body(index), pose))
    ball, book = (jnp.int32(bodies.BODY_NAMES.index(name)) for name in ("ball", "book"))
    np.testing.assert_allclose(bounds(ball), [40.5, 30.5, 19, 19], atol=1e-3)
    x, y = outline(ball)
    np.testing.assert_allclose(np.hypot(x[0] - 50, y[0] - 40), 9.5, rtol=1e-5)
    # The book's cover is its second part; every point of its outline solves the squircle's equation.
    x, y = ((np.asarray(axis[1], float) - centre) / 10 for axis, centre in zip(outline(book), (50, 40), strict=True))
    x, y = x / 0.76, y / 0.94
    np.testing.assert_allclose(x**2 + y**2 - 0.97**2 * x**2 * y**2, 1, atol=1e-4)


pack = jax.jit(textures.pack_stack, static_argnums=1)
look_up = jax.jit(textures.sample_stack)


def test_textures_are_looked_up_bilinearly_around_the_torus():
    rgb = np.random.default_rng(2).uniform(0, 1, (3, 16, 16)).astype(np.float32)
    x, y = np.array([[3, 16, 15.5, -1]], np.float32), np.array([[2, 5, 1, -9]], np.float32)
    found = np.asarray(look_up(pack(rgb, 3), x, y, np.float32(1)))[:, 0]
    between = ((rgb[:, 1, 15] ** 0.5 + rgb[:, 1, 0] ** 0.5) / 2) ** 2
    np.testing.assert_allclose(found.T, [rgb[:, 2, 3], rgb[:, 5, 0], between, rgb[:, 7, 15]], atol=2e-3)  # 10 bits


def test_a_large_footprint_averages_fine_texture_away():
    checks = (np.indices((16, 16)).sum(axis=0) % 2 * np.ones((3, 1, 1))).astype(np.float32)
    x, y = np.array([[3, 4, 5, 9]], np.float32), np.array([[2, 2, 3, 9]], np.float32)
    np.testing.assert_allclose(look_up(pack(checks, 3), x, y, np.float32(1))[0], [[1, 0, 0, 0]], atol=1e-3)
    np.testing.assert_allclose(look_up(pack(checks, 3), x, y, np.float32(4)), 0.5, atol=0.01)
    # Half way between two levels, by the logarithm of the footprint, lies the mean of both (as encoded).
    fine, middle, coarse = (look_up(pack(checks, 3), x, y, np.float32(2**level)) ** 0.5 for level in (0, 0.5, 1))
    np.testing.assert_allclose(middle, (fine + coarse) / 2, atol=1e-3)
    assert np.abs(fine - coarse).max() > 0.2


def test_random_fields_have_the_spectrum_that_they_are_asked_for():
    fields = np.asarray(jax.jit(textures.fractals, static_argnums=(1, 2))(jax.random.key(0), 128, (0.5, 1.5)))
    np.testing.assert_allclose(fields.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(fields.std(axis=(1, 2)), 1, rtol=1e-4)
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)[None])
    for field, slope in zip(fields, (0.5, 1.5), strict=True):
        power = np.abs(np.fft.fft2(field))
        low, high = (power[(frequency > f * 0.9) & (frequency < f * 1.1)].mean() for f in (0.03, 0.12))
        # The damping near Nyquist takes exp(-(0.12 / 0.3)^2 + (0.03 / 0.3)^2) = 0.861 between these two.
        assert np.log(high / 0.861 / low) / np.log(4) == pytest.approx(-slope, abs=0.15)


def test_hashed_noise_is_centred_with_unit_variance_and_uncorrelated():
    noise = np.asarray(jax.jit(textures.hash_normal)(jnp.arange(40_000, dtype=jnp.uint32)), float)
    assert abs(noise.mean()) < 0.02
    assert noise.std() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.02


# For training


def test_training_scenes_share_no_key_with_the_benchmarks():
    keys = {
        split: {tuple(jax.random.key_data(scene_key(split, seed, i)).tolist()) for seed in range(4) for i in range(8)}
        for split in ("benchmark", "train", "validation")
    }
    assert all(len(found) == 32 for found in keys.values())
    assert len(set.union(*keys.values())) == 96


def test_scenes_are_drawn_from_keys_under_vmap():
    def draw(key):
        first, second = jax.random.split(key)
        return sample_scene(second, sample_challenge(first), CONFIG)

    keys = jax.random.split(scene_key("train", 0, 0), 3)
    scenes = jax.eval_shape(jax.vmap(draw), keys)
    assert scenes.look.background.shape == (3, 4, 512, 512)
    assert scenes.layout.body.pivot.shape == (3, 8, 2)
    frames = jax.eval_shape(jax.vmap(functools.partial(render, config=CONFIG)), scenes, jnp.zeros(3))
    assert (frames.image.shape, frames.image.dtype) == ((3, 240, 320, 3), jnp.uint8)
    assert (frames.box.shape, frames.box.dtype, frames.visible.dtype) == ((3, 4), jnp.float32, jnp.bool_)


def test_drawn_challenges_keep_to_their_ranges():
    drawn = jax.jit(jax.vmap(sample_challenge))(jax.random.split(jax.random.key(0), 200))
    assert set(np.unique(drawn.occluders)) == {0, 1, 2}
    assert set(np.unique(drawn.grey)) == {0, 1}
    assert (np.asarray(drawn.size) >= 10).all()
    assert (np.asarray(drawn.size) <= 50).all()
    assert 0.2 < (np.asarray(drawn.bend) > 0).mean() < 0.5
    np.testing.assert_array_equal(drawn.body, Challenge.body)


def test_targets_of_drawn_scenes_fit_their_window_and_stay_in_view_unless_they_leave():
    def follow(key):
        first, second = jax.random.split(key)
        challenge = sample_challenge(first)
        # Larger than ever drawn, so that the limit counts.
        challenge = dataclasses.replace(challenge, size=1.6 * challenge.size)
        layout = sample_layout(second, challenge, CONFIG)
        return layout.challenge, jax.vmap(lambda t: motion.target_box(layout, t, CONFIG))(jnp.arange(60.0))

    keys = jax.vmap(lambda k: jax.random.fold_in(scene_key("validation", 0, 0), k))(jnp.arange(300))
    challenge, boxes = jax.jit(jax.vmap(follow))(keys)
    boxes = np.asarray(boxes)
    assert 0.8 * CONFIG.window < boxes[..., 2:].max() <= CONFIG.window
    assert boxes[..., 2:].min() > 1
    stays = np.asarray(challenge.leave) == 0
    low, high = boxes[stays][..., :2], boxes[stays][..., :2] + boxes[stays][..., 2:]
    assert (low > 0).all()
    assert (high < (CONFIG.width, CONFIG.height)).all()
