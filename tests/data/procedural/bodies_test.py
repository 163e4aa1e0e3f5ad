import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.data.procedural import bodies


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
