import jax.numpy as jnp
import numpy as np

from jaxtrack.data.procedural_pairs import fields, paints
from jaxtrack.data.procedural_pairs.numbers import Numbers
from jaxtrack.data.procedural_pairs.shapes import Layers


def surfaces(photo=(False, False, False), offset=10.0):
    return paints.packed(
        paints.Paints(
            first=jnp.array([[0.0, 0.0, 0.0], [255.0, 0.0, 0.0], [0.0, 255.0, 255.0]]),
            second=jnp.array([[255.0, 255.0, 255.0], [255.0, 0.0, 0.0], [0.0, 255.0, 255.0]]),
            field=jnp.array([1, 0, 2]),
            scale=jnp.array([2.0, 1.0, 1.0]),
            offset=jnp.full((3, 2), offset),
            turned=jnp.array([False, False, True]),
            photo=jnp.array(photo),
        )
    )


def coloured(top, below=None, share=1.0, x=0.0, y=0.0, photo=(False, False, False), photograph=None, detail=0.0):
    """BGR of a single pixel; pattern 1 is a ramp of a grey level per column, all others are 0."""
    ramp = jnp.zeros((fields.FIELDS, fields.SIDE, fields.SIDE))
    ramp = ramp.at[1].set(jnp.arange(fields.SIDE, dtype=jnp.float32)[None, :] / 255)
    one = lambda value, kind: jnp.full((1, 1), value, kind)  # noqa: E731
    layers = Layers(
        one(top, jnp.int32), one(top if below is None else below, jnp.int32), one(share, jnp.float32),
        one(1.0, jnp.float32), one(0.0, jnp.float32),
    )  # fmt: skip
    word = paints.colours(
        layers, one(x, jnp.float32), one(y, jnp.float32), surfaces(photo), jnp.float32(detail),
        fields.pack_fields(ramp), photograph,
    )  # fmt: skip
    return [float(paints.unpack_byte(word, place)[0, 0]) for place in range(3)]


def test_colours_are_mixed_by_the_pattern_at_the_paints_scale_and_offset():
    # Texel 2 * 20.25 + 10 of a ramp, between black and white.
    assert coloured(0, x=20.25) == [50, 50, 50] or coloured(0, x=20.25) == [51, 51, 51]


def test_a_plain_surface_has_its_colour_everywhere():
    assert coloured(1, x=3.0) == [255, 0, 0]
    assert coloured(2, y=-70.0) == [0, 255, 255]


def test_the_lower_surface_shines_through_by_its_share():
    assert coloured(1, below=2, share=0.75) == [191, 64, 64]


def test_fine_shading_darkens_by_its_strength():
    # Pattern 0 is 0 here: a factor of 1 - 0.4 / 2.
    assert coloured(1, detail=0.4) == [204, 0, 0]


def test_photographs_take_the_place_of_patterns_where_wanted_mirrored_beyond_their_edge():
    photograph = jnp.arange(16.0).reshape(4, 4, 1) * jnp.array([[[1.0, 2.0, 3.0]]])
    wanted = (False, True, False)
    # Positions plus 10, mirrored in 4 texels: 10 is 10 mod 8 = 2; 5 is 8 - 1 - 5 = 2 too; 16 is 0.
    assert coloured(1, photo=wanted, photograph=photograph) == [10, 20, 30]
    assert coloured(1, x=-5.0, photo=wanted, photograph=photograph) == [10, 20, 30]
    assert coloured(1, x=6.0, photo=wanted, photograph=photograph) == [8, 16, 24]
    assert coloured(2, photo=wanted, photograph=photograph) == [0, 255, 255]


def test_random_paints_use_exactly_their_numbers_and_stay_in_range():
    tape = np.random.default_rng(0).uniform(size=40 * paints.NUMBERS_PER_PAINT).astype(np.float32)
    drawn = paints.random_paints(Numbers(jnp.asarray(tape)), 40, 1.0)
    for colour in (drawn.first, drawn.second):
        assert float(colour.min()) >= 0
        assert float(colour.max()) <= 255
    assert set(np.asarray(drawn.field).tolist()) == set(range(fields.FIELDS))
    assert np.ptp(drawn.first, axis=0).min() > 150
