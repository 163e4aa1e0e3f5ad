"""Training pairs on disk: those of the source they were rendered from, in its order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stored_pairs
from tiny_training import Squares


class Glaring(Squares):
    """Squares brighter than white, on a ground darker than black."""

    def pairs(self, items):
        made = super().pairs(items)
        return made.replace(search=4.0 * made.search - 100.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored") / "pairs"
    stored_pairs.store(Glaring(), 100, 24, folder, batch=8)
    return folder


def test_a_batch_holds_the_pairs_of_its_numbers(folder):
    stored = stored_pairs.Stored(folder, 100)
    [items] = stored.batches(1, 12, 0, 1)  # the second of two batches
    found = stored.pairs(items)
    made = jax.jit(Glaring().pairs)(jnp.arange(112, 124, dtype=jnp.uint32))
    np.testing.assert_array_equal(found.box_xyxy, made.box_xyxy)
    np.testing.assert_array_equal(found.negative, made.negative)
    for name in ("template", "search"):
        image = np.asarray(getattr(found, name))
        expected = np.clip(np.asarray(getattr(made, name), np.float64), 0, 255)
        assert image.dtype == np.float32
        assert np.abs(image - expected).max() < 0.501
        np.testing.assert_array_equal(image, np.rint(image))


def test_processes_share_a_batch(folder):
    stored = stored_pairs.Stored(folder, 100)
    whole = next(stored.batches(0, 12, 0, 1))
    parts = [next(stored.batches(0, 12, process, 2)) for process in range(2)]
    for name, array in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), array)


def test_what_is_complete_stays_and_what_is_not_is_rendered_again(folder, monkeypatch):
    path = folder / "negative.npy"
    before = path.read_bytes()
    monkeypatch.setattr(Glaring, "pairs", None)
    stored_pairs.store(Glaring(), 100, 24, folder, batch=8)
    assert path.read_bytes() == before
    monkeypatch.undo()
    (folder / "complete").unlink()
    path.write_bytes(b"cut off")
    stored_pairs.store(Glaring(), 100, 24, folder, batch=8)
    assert path.read_bytes() == before


def test_more_pairs_than_there_are_are_rendered_anew(tmp_path):
    for count in (8, 16):
        stored = stored_pairs.store(Squares(), 100, count, tmp_path / "pairs", batch=8)
        assert len(list(stored.batches(0, 8, 0, 1))) == count // 8
