"""Pairs by number, whatever the batch and the process: rendered ones, and those of a tiny prepared dataset."""

import dataclasses
import itertools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dataset_folders import write_image, write_lines

from jaxtrack.data.augmentation import SEARCH, TEMPLATE
from jaxtrack.data.pairs import DiskPairs, PairSampling
from jaxtrack.data.preparation import Preparation, prepare, video_folders
from jaxtrack.data.procedural_pairs import Pair
from jaxtrack.errors import UserError
from jaxtrack.training import sources
from jaxtrack.training.factor_crops import FactorCrops
from jaxtrack.training.sources import Disk, FactorDisk, Procedural, sample_numbers


def taken(source, count, first_step=0, batch=4, process=0, processes=1):
    """The host's arrays of some steps."""
    batches = source.batches(first_step, batch, process, processes)
    found = list(itertools.islice(batches, count))
    batches.close()
    return found


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def rows(tree, index):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree)


# --- numbers -------------------------------------------------------------------------------------------------------


def test_a_samples_number_is_its_place_in_the_whole_training():
    assert sample_numbers(3, 8, 0, 1).tolist() == list(range(24, 32))
    assert sample_numbers(3, 8, 1, 4).tolist() == [26, 27]
    assert sample_numbers(0, 8, 0, 1).dtype == np.uint32


def test_the_numbers_of_the_processes_make_the_whole_batch():
    whole = taken(Procedural(), 3, first_step=5, batch=12)
    assert [numbers.tolist() for numbers in whole] == [list(range(12 * i, 12 * i + 12)) for i in (5, 6, 7)]
    parts = [taken(Procedural(), 3, 5, 12, process, 3) for process in range(3)]
    for numbers, *shares in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(np.concatenate(shares), numbers)


# --- rendered pairs ------------------------------------------------------------------------------------------------

# Long to compile: the one program of rendering that this file has.
render_two = jax.jit(Procedural(seed=3).pairs)


@pytest.fixture(scope="module")
def rendered():
    """The pairs 5 and 9."""
    return rows(render_two(jnp.asarray([5, 9], jnp.uint32)), slice(None))


def test_rendered_pairs_have_the_shapes_of_a_batch(rendered):
    shapes = {name: (leaf.shape, leaf.dtype) for name, leaf in vars(rendered).items()}
    assert shapes == {
        "template": ((2, 127, 127, 3), np.float32),
        "search": ((2, 255, 255, 3), np.float32),
        "box_xyxy": ((2, 4), np.float32),
        "negative": ((2,), bool),
    }
    # Neither flat nor alike.
    assert rendered.search.std(axis=(1, 2, 3)).min() > 5
    assert np.abs(rendered.search[0] - rendered.search[1]).mean() > 5


def test_a_rendered_pair_is_the_same_in_any_batch(rendered):
    for numbers in ([9, 5], [9, 9]):
        found = render_two(jnp.asarray(numbers, jnp.uint32))
        assert_same(rows(found, slice(None)), rows(rendered, [{5: 0, 9: 1}[number] for number in numbers]))


@pytest.fixture
def flat(monkeypatch):
    """In place of rendering: grey images, and boxes that tell the keys; the textures that it was given."""
    given = []

    def render(keys, look, textures):
        given.append(textures)
        count = len(keys)
        return Pair(
            template=jnp.full((count, 127, 127, 3), 100.0),
            search=jnp.full((count, 255, 255, 3), 100.0),
            box_xyxy=jax.vmap(lambda key: jax.random.uniform(key, (4,)))(keys),
            negative=jnp.zeros(count, bool),
        )

    monkeypatch.setattr(sources, "render_batch", render)
    return given


def test_seeds_splits_and_numbers_have_pairs_of_their_own(flat):
    numbers = jnp.arange(4, dtype=jnp.uint32)
    drawn = [
        np.asarray(Procedural(seed=seed, split=split).pairs(numbers).box_xyxy)
        for seed in (0, 1)
        for split in ("train", "validation")
    ]
    assert len({row.tobytes() for boxes in drawn for row in boxes}) == 16


def test_rendered_images_are_recoloured_each_by_itself(flat):
    found = Procedural().pairs(jnp.arange(3, dtype=jnp.uint32))
    offsets = [np.asarray(images) - 100 for images in (found.template, found.search)]
    for images in offsets:
        np.testing.assert_allclose(images, images[:, :1, :1] + np.zeros_like(images), atol=1e-3)
    colours = np.concatenate([images[:, 0, 0] for images in offsets])
    assert len({colour.tobytes() for colour in colours}) == 6
    assert 0.1 < np.abs(colours).mean() < 20


def test_rendered_images_are_recoloured_as_the_look_says(flat):
    plain = dataclasses.replace(TEMPLATE, colour=0.0), dataclasses.replace(SEARCH, colour=0.0, blur=0.0)
    look = dataclasses.replace(Procedural().look, template=plain[0], search=plain[1])
    found = Procedural(look).pairs(jnp.arange(2, dtype=jnp.uint32))
    assert np.all(np.asarray(found.template) == 100)
    assert np.all(np.asarray(found.search) == 100)


def test_rendered_images_are_mirrored_with_their_boxes_as_the_look_says(flat):
    numbers = jnp.arange(3, dtype=jnp.uint32)
    found = []
    for flip in ({}, {"search": 1.0}, {"template": 1.0}):
        changes = {name: dataclasses.replace(getattr(Procedural().look, name), flip=p) for name, p in flip.items()}
        found.append(Procedural(dataclasses.replace(Procedural().look, **changes)).pairs(numbers).box_xyxy)
    left, top, right, bottom = np.asarray(found[0]).T
    np.testing.assert_allclose(found[1], np.stack([254 - right, top, 254 - left, bottom], axis=1), rtol=1e-6)
    np.testing.assert_array_equal(found[2], found[0])


def test_a_folder_of_images_becomes_textures(flat, tmp_path):
    for i in range(2):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((200, 300, 3), 100 + i, np.uint8))
    for textures in (None, tmp_path):
        Procedural(textures=textures).pairs(jnp.arange(1, dtype=jnp.uint32))
    assert flat[0] is None
    assert flat[1].shape == (2, 128, 128, 3)
    assert sorted(np.asarray(flat[1]).mean(axis=(1, 2, 3))) == [100, 101]


# --- pairs from disk -----------------------------------------------------------------------------------------------

COUNT = 4
SIZES = [(60, 40), (36, 54)]  # of the targets of two videos, width and height
FRAMES = 6


def prepared(root, sizes):
    """A dataset: in each video a bright blue rectangle moves over dark coloured noise."""
    random = np.random.default_rng(0)
    for number, (width, height) in enumerate(sizes, 1):
        frames = root / "source" / "train" / f"GOT-10k_Train_{number:06d}"
        frames.mkdir(parents=True)
        boxes = []
        for i in range(FRAMES):
            image = cv2.resize(random.integers(0, 80, (24, 32, 3), np.uint8), (320, 240))
            x, y = 100 + 9 * i, 90 - 7 * i
            # Pixel centres are at integers: from the one at x to the one at x + width.
            image[y : y + height + 1, x : x + width + 1] = (255, 200, 140)
            cv2.imwrite(str(frames / f"{i + 1:08d}.jpg"), image)
            boxes.append(f"{x},{y},{width},{height}")
        write_lines(frames / "groundtruth.txt", boxes)
    return prepare(Preparation("got10k", root / "source", root / "out")).folder


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """Half the pairs negative, half grey, half mirrored; nothing is blurred. Validation is on squares."""
    search = dataclasses.replace(SEARCH, blur=0.0, flip=0.5)
    folders = (
        prepared(tmp_path_factory.mktemp("disk"), SIZES),
        prepared(tmp_path_factory.mktemp("held_out"), [(50, 50)]),
    )
    sampling = PairSampling(uses=(), negative=0.5, gray=0.5)
    return Disk(folders[:1], validation_folders=folders[1:], sampling=sampling, search=search)


@pytest.fixture(scope="module")
def program(disk):
    return jax.jit(disk.pairs)


@pytest.fixture(scope="module")
def made(disk, program):
    """(host arrays, pairs) of six batches, as one."""
    items = taken(disk, 6, batch=COUNT)
    pairs = [rows(program(batch), slice(None)) for batch in items]
    join = lambda *leaves: np.concatenate(leaves)  # noqa: E731
    return jax.tree.map(join, *items), jax.tree.map(join, *pairs)


def hull(image):
    """(left, top, right, bottom) of the outermost bright pixels' centres."""
    ys, xs = np.nonzero(image.max(axis=-1) > 120)
    return np.asarray([xs.min(), ys.min(), xs.max(), ys.max()], float)


def test_pairs_from_disk_have_the_shapes_of_a_batch(made):
    pairs = made[1]
    shapes = {name: (leaf.shape, leaf.dtype) for name, leaf in vars(pairs).items()}
    assert shapes == {
        "template": ((24, 127, 127, 3), np.float32),
        "search": ((24, 255, 255, 3), np.float32),
        "box_xyxy": ((24, 4), np.float32),
        "negative": ((24,), bool),
    }


def test_the_box_is_around_the_target_in_the_search_region(made):
    pairs = made[1]
    centres = []
    for image, box in zip(pairs.search, pairs.box_xyxy, strict=True):
        # A pixel of the video, up to 1.6 of the crop, reaches half of itself beyond its centre.
        np.testing.assert_allclose(hull(image), box, atol=1.3)
        centres.append((box[:2] + box[2:]) / 2)
    # It is shifted by up to 64 pixels in the stored crop, and not always the same.
    apart = np.abs(np.asarray(centres) - 127)
    assert 40 < apart.max() < 64 / 0.8
    sides = pairs.box_xyxy[:, 2:] - pairs.box_xyxy[:, :2]
    for width, height in SIZES:
        context = (width + height) / 2
        scale = 127 / np.sqrt((width + context) * (height + context))
        near = np.abs(sides / (scale * np.asarray([width, height])) - 1).max(axis=1) < 0.23
        assert 4 < near.sum() < 20  # windows of 0.82 to 1.18 times the size


def test_the_target_is_in_the_middle_of_the_template(made):
    for image in made[1].template:
        box = hull(image)
        np.testing.assert_allclose((box[:2] + box[2:]) / 2, 63, atol=6)


def test_mirrored_search_regions_have_mirrored_boxes(disk, made):
    none = dataclasses.replace(SEARCH, shift_px=30.0, scale=0.0, blur=0.0, colour=0.0)
    both = [
        jax.jit(dataclasses.replace(disk, search=dataclasses.replace(none, flip=flip)).pairs) for flip in (0.0, 1.0)
    ]
    items = rows(made[0], slice(0, COUNT))
    plain, mirrored = (rows(run(items), slice(None)) for run in both)
    np.testing.assert_array_equal(mirrored.search, plain.search[:, :, ::-1])
    left, top, right, bottom = plain.box_xyxy.T
    np.testing.assert_allclose(mirrored.box_xyxy, np.stack([254 - right, top, 254 - left, bottom], axis=1))


def test_grey_pairs_are_grey_but_for_their_tint(made):
    items, pairs = made
    assert 4 < items["gray"].sum() < 20
    for images in (pairs.template, pairs.search):
        # The colour offset comes after the grey, as in the references: it is the same for every pixel.
        spread = np.std(images[..., 0] - images[..., 2], axis=(1, 2))
        np.testing.assert_array_equal(spread < 0.01, items["gray"])


def test_negative_pairs_are_flagged(made, disk):
    pairs = made[1]
    expected = [DiskPairs(disk.folders, disk.sampling).choose(number, 0)[2] for number in range(24)]
    assert pairs.negative.tolist() == expected
    assert 4 < sum(expected) < 20


def test_a_pair_from_disk_is_the_same_in_any_batch(program, made):
    order = [9, 2, 20, 2]
    found = program(rows(made[0], order))
    assert_same(rows(found, slice(None)), rows(made[1], order))


def test_the_processes_make_the_whole_batch(disk, program, made):
    parts = [taken(disk, 2, first_step=1, batch=2 * COUNT, process=process, processes=2) for process in range(2)]
    for step, shares in enumerate(zip(*parts, strict=True), 1):
        for process, share in enumerate(shares):
            numbers = slice(2 * COUNT * step + COUNT * process, 2 * COUNT * step + COUNT * (process + 1))
            assert_same(share, rows(made[0], numbers))
            assert_same(rows(program(share), slice(None)), rows(made[1], numbers))


def test_the_validation_split_is_of_its_own_folders(disk):
    for split, shapes in (("train", {1.5, 0.667}), ("validation", {1.0})):
        boxes = np.concatenate([batch["search_box"] for batch in taken(dataclasses.replace(disk, split=split), 3)])
        sides = (boxes[:, 2:] - boxes[:, :2]).astype(float)
        assert set(np.round(sides[:, 0] / sides[:, 1], 3).tolist()) == shapes


def test_only_datasets_in_the_layout_of_a_test_benchmark_are_warned_of(disk, tmp_path):
    assert disk.warnings() == []
    for name in ("Basketball", "Mine"):
        write_lines(tmp_path / "source" / name / "groundtruth_rect.txt", ["11,12,20,15"])
        write_image(tmp_path / "source" / name / "img" / "0001.jpg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_folders.otb_table, "table", lambda: ())  # OTB's own Basketball has 725 images
        folder = prepare(Preparation("otb", tmp_path / "source", tmp_path / "out")).folder
    [line] = dataclasses.replace(disk, folders=(*disk.folders, folder)).warnings()
    assert line.startswith(f"{folder} has the layout of a test benchmark, and 1 of its 2 sequences have names of OTB-1")


def test_another_seed_draws_other_pairs(disk, made):
    found = taken(dataclasses.replace(disk, seed=1), 6, batch=COUNT)
    assert [batch["index"].tolist() for batch in found] == made[0]["index"].reshape(6, COUNT).tolist()
    # Boxes tell the videos apart: which of 24 pairs has which is drawn anew.
    assert np.concatenate([batch["search_box"] for batch in found]).tobytes() != made[0]["search_box"].tobytes()


def test_without_a_folder_a_sentence_says_what_to_prepare():
    with pytest.raises(UserError, match="no prepared dataset was given"):
        taken(Disk(), 1)


def test_pairs_of_the_other_crops_come_from_the_same_images(disk):
    still = FactorCrops(size_jitter=0.0, shift_jitter=0.0, brightness=0.0)
    source = FactorDisk(disk.folders, sampling=PairSampling(uses=(), negative=0.0, gray=0.0), crops=still)
    [items] = taken(source, 1, batch=COUNT)
    pairs = jax.jit(source.pairs)(items)
    assert (pairs.template.shape, pairs.search.shape) == ((COUNT, 128, 128, 3), (COUNT, 256, 256, 3))
    for template, search, box in zip(pairs.template, pairs.search, pairs.box_xyxy, strict=True):
        np.testing.assert_allclose(hull(np.asarray(search)), box, atol=1.3)
        np.testing.assert_allclose((box[:2] + box[2:]) / 2, 127.5, atol=1e-3)
        found = hull(np.asarray(template))
        np.testing.assert_allclose((found[:2] + found[2:]) / 2, 63.5, atol=1.3)
    assert not pairs.negative.any()
