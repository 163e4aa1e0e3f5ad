import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.data.procedural import scene_key
from jaxtrack.data.procedural_pairs import Pair, PairConfig, arrangement, pair_key, pairs, render_batch, view
from jaxtrack.errors import UserError

CONFIG = PairConfig()
COUNT = 80
# Photographs of nothing but magenta, a colour that no other surface keeps over a quarter of an image.
MAGENTA = jnp.broadcast_to(jnp.array([255.0, 0.0, 255.0]), (3, 16, 16, 3))


def target_alone(drawn, sprites, row, side, patch):
    """Coverage of the object in the target's place, everything else left away, in [0, 255]."""
    present = jnp.arange(drawn.instances.present.shape[0]) == row
    alone = drawn.replace(instances=drawn.instances.replace(present=present))
    opacity = sprites >> 24
    white = opacity * jnp.uint32(0x01010101)
    return view._with_instances(jnp.zeros((side, side), jnp.uint32), alone, white, patch) & 255


@jax.jit
def everything(keys):
    recipes, sprites, arranged, images = pairs._stages(keys, CONFIG, MAGENTA, together=1)
    masks = jax.lax.map(
        lambda row: (
            target_alone(row[0].template, row[1], arrangement.TEMPLATE_DISTRACTORS + 1, 127, 127),
            target_alone(row[0].search, row[1], arrangement.DISTRACTORS + 1, 255, 144),
        ),
        (arranged, sprites),
    )
    return Pair(*images, arranged.box_xyxy, recipes.negative), recipes, arranged, masks


KEYS = [pair_key(7, index) for index in range(COUNT)]


@pytest.fixture(scope="module")
def rendered():
    return jax.tree.map(
        lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else np.asarray(leaf),
        everything(jnp.stack(KEYS)),
    )


def extent(mask):
    """The edges (left, top, right, bottom) of what is at least half covered, pixel centres at integers."""
    rows, columns = np.nonzero(mask > 127)
    return np.array([columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5])


def steps(window, side):
    """Source pixels per crop pixel along x and y."""
    return (window[2:] - window[:2]) / (side - 1)


def test_a_pair_has_the_documented_shapes_and_whole_grey_levels(rendered):
    pair = rendered[0]
    assert pair.template.shape == (COUNT, 127, 127, 3)
    assert pair.search.shape == (COUNT, 255, 255, 3)
    for image in (pair.template, pair.search):
        assert image.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 255
    assert pair.box_xyxy.shape == (COUNT, 4)
    assert pair.negative.dtype == bool
    shapes = jax.eval_shape(lambda keys: render_batch(keys, CONFIG), jnp.stack(KEYS[:3]))
    assert shapes.search.shape == (3, 255, 255, 3)


def test_pairs_do_not_depend_on_their_place_in_the_batch(rendered):
    again = everything(jnp.stack(KEYS[::-1]))[0]
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[::-1]), rendered[0], again)


def test_pairs_of_different_keys_differ(rendered):
    pair = rendered[0]
    for images in (pair.template, pair.search):
        assert len({image.tobytes() for image in images}) == COUNT
    assert len({box.tobytes() for box in pair.box_xyxy}) == COUNT


def test_keys_of_pairs_are_not_those_of_scenes_or_of_other_splits():
    words = {
        tuple(np.asarray(jax.random.key_data(key)).tolist())
        for key in [
            pair_key(0, 1), pair_key(1, 0), pair_key(0, 1, "validation"), scene_key("train", 0, 1),
            scene_key("benchmark", 0, 1),
        ]
    }  # fmt: skip
    assert len(words) == 5


def test_boxes_are_tight_to_the_object_alone(rendered):
    pair, _, arranged, (_, masks) = rendered
    for mask, box, border, window in zip(
        masks, pair.box_xyxy, arranged.search.border, arranged.search.window, strict=True
    ):
        edges = (border - np.tile(window[:2], 2)) / np.tile(steps(window, 255), 2)
        hull = extent(mask)
        cut = np.concatenate([np.maximum(hull[:2], edges[:2]), np.minimum(hull[2:], edges[2:])])
        # The hull is counted in whole pixels.
        np.testing.assert_allclose(box, cut, atol=1.1)


def test_boxes_are_centred_on_the_object_on_the_mean(rendered):
    pair, _, _, (_, masks) = rendered
    hulls = np.stack([extent(mask) for mask in masks])
    whole = np.all(np.abs(hulls - pair.box_xyxy) < 1.1, axis=1)  # not cut by the video's border
    assert whole.sum() > 50
    # Whole pixels scatter by 0.3 about the edge of each; a rule off by half a pixel moves all of them.
    shift = (hulls - pair.box_xyxy).reshape(-1, 2, 2).mean(axis=1)[whole].mean(axis=0)
    np.testing.assert_allclose(shift, [0, 0], atol=0.12)


def test_the_template_is_centred_on_the_target_up_to_the_shift(rendered):
    for mask, window in zip(rendered[3][0], rendered[2].template.window, strict=True):
        box = extent(mask)
        place = window[:2] + 0.5 * (box[:2] + box[2:]) * steps(window, 127)
        np.testing.assert_allclose(place, [255, 255], atol=0.8)
        np.testing.assert_allclose(0.5 * (box[:2] + box[2:]), [63, 63], atol=5.0)


def test_the_object_has_the_same_size_in_both_images_up_to_the_windows_scale(rendered):
    for masks, views, side in zip(rendered[3], (rendered[2].template, rendered[2].search), (127, 255), strict=True):
        for mask, window in zip(masks, views.window, strict=True):
            box = extent(mask)
            width, height = (box[2:] - box[:2]) * steps(window, side)
            context = (width + height) / 2
            assert abs(np.sqrt((width + context) * (height + context)) - 127) < 3.0


def test_windows_scatter_as_configured(rendered):
    for views, size, shift, scale in ((rendered[2].template, 127, 4, 0.05), (rendered[2].search, 255, 64, 0.18)):
        middle = 0.5 * (views.window[:, :2] + views.window[:, 2:]) - 255
        ratio = (views.window[:, 2:] - views.window[:, :2]) / (size - 1)
        assert 0.8 * shift < np.abs(middle).max() <= shift + 1e-3
        assert 0.8 * scale < np.abs(ratio - 1).max() <= scale + 1e-5


def test_every_object_is_well_inside_the_search_image_and_not_tiny(rendered):
    boxes = rendered[0].box_xyxy
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.min() > 12
    assert sides.max() < 160
    assert boxes.min() > -10
    assert boxes.max() < 264


def test_a_fifth_of_the_pairs_is_negative_and_a_fifth_gray_in_both_images(rendered):
    pair = rendered[0]
    gray = [(images == images[..., :1]).all(axis=(1, 2, 3)) for images in (pair.template, pair.search)]
    np.testing.assert_array_equal(*gray)
    # Three standard deviations of a fifth of 80.
    assert abs(pair.negative.mean() - 0.2) < 0.135
    assert abs(gray[0].mean() - 0.2) < 0.135


def test_negative_pairs_show_another_object_and_positive_ones_the_target(rendered):
    negative, crowd = rendered[0].negative, rendered[2].search.instances
    shown = crowd.sprite[:, arrangement.DISTRACTORS + 1]
    assert (shown[~negative] == arrangement.TARGET_LATER).all()
    assert set(shown[negative]) <= {arrangement.OTHER, arrangement.SIBLING}
    others = np.delete(crowd.sprite, arrangement.DISTRACTORS + 1, axis=1)
    assert (others > arrangement.TARGET_LATER).all()


def test_no_other_object_stands_in_the_templates_place(rendered):
    crowd = rendered[2].template.instances
    target = arrangement.TEMPLATE_DISTRACTORS + 1
    assert crowd.present[:, target].all()
    assert (crowd.sprite[:, target] == arrangement.TARGET).all()
    # The target is the foremost, and the distractors' middles lie outside its hull.
    assert crowd.present.shape[1] == target + 1
    for mask, window, centres, present in zip(
        rendered[3][0], rendered[2].template.window, crowd.centre, crowd.present, strict=True
    ):
        box = extent(mask) * np.tile(steps(window, 127), 2) + np.tile(window[:2], 2)
        for centre in centres[: arrangement.TEMPLATE_DISTRACTORS][present[: arrangement.TEMPLATE_DISTRACTORS]]:
            assert (centre < box[:2]).any() or (centre > box[2:]).any()


def test_distractors_are_as_frequent_as_configured_and_many_are_look_alikes(rendered):
    crowd = rendered[2].search.instances
    present = crowd.present[:, : arrangement.DISTRACTORS]
    assert abs(present.mean() - CONFIG.distractor) < 0.1
    siblings = crowd.sprite[:, : arrangement.DISTRACTORS][present] == arrangement.SIBLING
    assert abs(siblings.mean() - CONFIG.sibling) < 0.15


def test_what_lies_beyond_the_videos_border_has_the_images_mean_colour(rendered):
    pair, _, arranged, _ = rendered
    found = 0
    for image, border, window in zip(pair.search, arranged.search.border, arranged.search.window, strict=True):
        x, y = (window[k] + np.arange(255) * steps(window, 255)[k] for k in (0, 1))
        inside = ((x >= border[0]) & (x < border[2]))[None] & ((y >= border[1]) & (y < border[3]))[:, None]
        if inside.all():
            continue
        found += 1
        np.testing.assert_allclose(
            image[~inside], np.broadcast_to(image[inside].mean(0), image[~inside].shape), atol=0.1
        )
    assert found >= 5


def test_textures_are_used_in_about_half_of_the_pairs_and_only_where_chosen(rendered):
    pair, recipes = rendered[0], rendered[1]
    chosen = ((recipes.grounds.surfaces.where >> 18) & 1).any(axis=(1, 2))
    assert abs(chosen.mean() - CONFIG.photo) < 0.17
    coloured = (pair.search != pair.search[..., :1]).any(axis=(1, 2, 3))
    blue, green, red = np.moveaxis(pair.search, -1, 0)
    share = ((green < 0.5 * blue) & (green < 0.5 * red) & (np.abs(blue - red) < 60)).mean(axis=(1, 2))
    assert (share[chosen & coloured] > 0.25).mean() > 0.5
    assert (share[~chosen] < 0.25).all()
    assert set(recipes.photograph.tolist()) == {0, 1, 2}


def test_the_companion_keeps_its_place_at_the_target(rendered):
    views, positive = (rendered[2].template, rendered[2].search), ~rendered[0].negative
    present = [
        one.instances.present[:, row]
        for one, row in zip(views, (arrangement.TEMPLATE_DISTRACTORS, arrangement.DISTRACTORS), strict=True)
    ]
    np.testing.assert_array_equal(*present)
    assert abs(present[0].mean() - CONFIG.companion) < 0.17
    joined = present[0] & positive
    places = [
        one.instances.centre[joined, row] - 255
        for one, row in zip(views, (arrangement.TEMPLATE_DISTRACTORS, arrangement.DISTRACTORS), strict=True)
    ]
    np.testing.assert_allclose(*places, atol=40)
    assert (np.sign(places[0]) == np.sign(places[1])).mean() > 0.8


@pytest.mark.slow
def test_pairs_rendered_together_are_those_rendered_alone(rendered):
    together = jax.jit(lambda keys: render_batch(keys, CONFIG, MAGENTA, together=4))(jnp.stack(KEYS[:4]))
    np.testing.assert_allclose(together.box_xyxy, rendered[0].box_xyxy[:4], atol=1e-3)
    for ours, theirs in ((together.template, rendered[0].template), (together.search, rendered[0].search)):
        assert np.abs(ours - theirs[:4]).mean() < 0.05


@pytest.mark.slow
def test_a_single_pair_is_the_one_of_the_batch(rendered):
    pair = jax.jit(lambda key: pairs.render_pair(key, CONFIG, MAGENTA))(KEYS[3])
    np.testing.assert_allclose(pair.box_xyxy, rendered[0].box_xyxy[3], atol=1e-3)
    assert np.abs(np.asarray(pair.search) - rendered[0].search[3]).mean() < 0.05


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"negative": 1.2}, "negative of PairConfig must be at most 1, not 1.2"),
        ({"change": -1.0}, "change of PairConfig must be at least 0, not -1"),
    ],
)
def test_impossible_settings_are_refused_in_a_sentence(values, sentence):
    with pytest.raises(UserError, match=f"^{sentence}$"):
        PairConfig(**values)
