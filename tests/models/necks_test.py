import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.models.necks import AdjustLayers, centre_crop


def test_of_fifteen_cells_the_crop_keeps_4_to_10():
    x = jnp.arange(15.0).reshape(1, 1, 15, 1) + 100 * jnp.arange(15.0).reshape(1, 15, 1, 1)
    cropped = centre_crop(x, 7)[0, :, :, 0]
    np.testing.assert_array_equal(cropped[0], 400 + np.arange(4, 11))
    np.testing.assert_array_equal(cropped[:, 0], 100 * np.arange(4, 11) + 4)


def test_templates_are_cropped_and_search_regions_are_not():
    neck = AdjustLayers(6)
    z, x = (tuple(jnp.ones((1, side, side, c)) for c in (2, 3)) for side in (15, 31))
    variables = neck.init(jax.random.key(0), z)
    assert set(variables["params"]) == {"level_2", "level_3"}
    assert [level.shape for level in neck.apply(variables, z)] == [(1, 7, 7, 6)] * 2
    assert [level.shape for level in neck.apply(variables, x)] == [(1, 31, 31, 6)] * 2


def test_statistics_in_training_are_those_of_the_whole_template():
    neck = AdjustLayers(1)
    z = (jnp.zeros((1, 15, 15, 1)).at[0, 0, 0, 0].set(225.0),)  # outside of what is kept
    variables = neck.init(jax.random.key(0), z)
    variables["params"]["level_only"]["conv"]["kernel"] = jnp.ones((1, 1, 1, 1))
    _, updates = neck.apply(variables, z, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(updates["batch_stats"]["level_only"]["norm"]["mean"], [0.1], rtol=1e-5)
