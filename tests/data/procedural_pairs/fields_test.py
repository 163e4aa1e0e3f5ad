import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.data.procedural_pairs import fields


@pytest.fixture(scope="module")
def drawn():
    render = jax.jit(lambda key: fields.render_fields(jax.random.uniform(key, (fields.TAPE,)), jnp.uint32(3)))
    return [255 * np.asarray(render(jax.random.key(seed))) for seed in range(6)]


def test_patterns_have_contrast_and_differ_from_pair_to_pair(drawn):
    assert drawn[0].shape == (fields.FIELDS, fields.SIDE, fields.SIDE)
    assert min(bank.min() for bank in drawn) >= 0
    assert max(bank.max() for bank in drawn) <= 255
    assert np.mean([bank.std(axis=(1, 2)) for bank in drawn], axis=0).min() > 10
    for bank in drawn[1:]:
        assert (np.abs(bank.astype(float) - drawn[0]).mean(axis=(1, 2)) > 5).all()


def test_noises_have_no_seam_where_they_wrap_around(drawn):
    for bank in drawn:
        noise = bank[: fields.NOISES].astype(float)
        inner = np.abs(np.diff(noise, axis=2)).mean(axis=(1, 2))
        seam = np.abs(noise[:, :, 0] - noise[:, :, -1]).mean(axis=1)
        assert (seam < 2.5 * inner + 1).all()


def test_look_up_interpolates_between_texels_and_wraps_around():
    random = np.random.default_rng(0)
    bank = random.integers(0, 256, (fields.FIELDS, fields.SIDE, fields.SIDE)).astype(np.uint8)
    words = fields.pack_fields(jnp.asarray(bank, jnp.float32) / 255)
    x, y = random.uniform(-300, 300, (2, 500)).astype(np.float32)
    which = random.integers(0, fields.NOISES, 500)
    for k in range(500):
        column, row = int(np.floor(x[k])), int(np.floor(y[k]))
        fx, fy = x[k] - column, y[k] - row
        tap = lambda dx, dy, k=k, c=column, r=row: float(bank[which[k], (r + dy) % 128, (c + dx) % 128])  # noqa: E731
        expected = (tap(0, 0) * (1 - fx) + tap(1, 0) * fx) * (1 - fy) + (tap(0, 1) * (1 - fx) + tap(1, 1) * fx) * fy
        if k == 0:
            found = np.asarray(fields.look_up(words, jnp.asarray(which, jnp.int32), jnp.asarray(x), jnp.asarray(y)))
        assert abs(255 * found[k] - expected) < 0.02


def test_hard_patterns_are_smoothed_over_two_texels():
    bank = jnp.zeros((fields.FIELDS, fields.SIDE, fields.SIDE)).at[:, 5, 7].set(200 / 255)
    words = np.asarray(fields.pack_fields(bank)).reshape(fields.FIELDS, fields.SIDE, fields.SIDE) & 255
    np.testing.assert_array_equal(words[: fields.NOISES, 5:7, 7:9].sum(axis=(1, 2)), 200)
    np.testing.assert_array_equal(words[fields.NOISES :, 5:7, 7:9], 50)


def test_the_wave_is_nearly_a_sine():
    turns = jnp.linspace(-3.0, 3.0, 301)
    np.testing.assert_allclose(fields.wave(turns), np.sin(2 * np.pi * np.asarray(turns)), atol=0.06)
