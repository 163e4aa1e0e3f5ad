"""MDNet's framework on a network of a few numbers, in frames that say themselves whether the target is found."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack import images
from jaxtrack.images import Frame
from jaxtrack.online import framework
from jaxtrack.online.framework import Framework, Memory, Model, Regression, Sampling, Search
from jaxtrack.online.mining import Mining

SIZE = (100, 140)  # height, width
BOX = np.array([50.0, 40.0, 30.0, 24.0], np.float32)
SMALL = Framework(
    search=Search(candidates=24, best=3),
    sampling=Sampling(first_positives=10, first_negatives=40, positives=4, negatives=6),
    mining=Mining(positives=6, negatives=6, candidates=12, first_iterations=40, first_rate=1e-2, iterations=2),
    memory=Memory(positive_frames=12, negative_frames=4, short_frames=5, interval=10),
    regression=Regression(samples=20),
)
OTHER = dataclasses.replace(
    SMALL,
    memory=dataclasses.replace(SMALL.memory, half=True),
    regression=Regression(samples=20, reference="pytorch", constant="free"),
)
PAPER = Sampling(first_positives=200, first_negatives=400, positives=50, negatives=100)
# What the score is beyond what is learnt, in a frame with the target and in one without.
CERTAIN = 32.0


def features(fixed, frame, boxes):
    """Mean colours of 2 x 2 parts of each box, mixed; and last whether the frame lacks the target."""
    crop = jax.vmap(lambda box: images.crop(frame.pixels, frame.size, box, (2, 2)))(boxes)
    seen = (crop.reshape(len(boxes), -1) / 128 - 1) @ fixed
    absent = jnp.broadcast_to(frame.pixels[:1, :1, 0].astype(jnp.float32) / 255, (len(boxes), 1))
    return jnp.concatenate([seen, absent], axis=1)


def logit(head, samples):
    seen = samples.features[:, :-1].astype(jnp.float32)
    return seen @ head["fc6"]["kernel"] + head["fc6"]["bias"]


def loss(head, samples, labels, key):
    del key
    sign = (1 - 2 * labels).astype(jnp.float32)
    return jnp.mean(jax.nn.softplus(sign * logit(head, samples)))


def score(head, samples):
    absent = samples.features[:, -1].astype(jnp.float32)
    return logit(head, samples) + CERTAIN * (1 - 2 * absent)


MODEL = Model(features, score, loss, flat=lambda x: x, location=lambda boxes, size: boxes / 100)
FIXED = jnp.asarray(np.random.default_rng(5).normal(size=(12, 8)).astype(np.float32))
HEAD = {"fc6": {"kernel": jnp.zeros((8,)), "bias": jnp.zeros(())}}


def frame(present=True):
    """A bright rectangle in noise, brightest in its last corner; pixel (0, 0) says whether the target is there."""
    image = np.random.default_rng(1).integers(0, 120, (*SIZE, 3), np.uint8)
    image[40:64, 50:80] = np.add.outer(np.arange(24), np.arange(30))[..., None] * 3 // 2 + 170
    image[0, 0, 0] = 0 if present else 255
    return Frame(jnp.asarray(image), jnp.asarray(SIZE, jnp.int32), jnp.asarray(False))


PRESENT, ABSENT = frame(), frame(present=False)


@functools.cache
def functions(config):
    init = jax.jit(lambda fixed, image, key: framework.init(config, MODEL, fixed, HEAD, image, BOX, key))
    step = jax.jit(lambda fixed, state, image: framework.step(config, MODEL, fixed, state, image))
    return init, step


def begin(config=SMALL, seed=0):
    return functions(config)[0](FIXED, PRESENT, jax.random.key(seed))


def go_on(state, image, config=SMALL):
    return functions(config)[1](FIXED, state, image)


def follow(missing, frames, config=SMALL, state=None):
    """The states after each frame, and the predictions."""
    states, predictions = [begin(config) if state is None else state], []
    for i in range(1, frames):
        state, prediction = go_on(states[-1], ABSENT if i in missing else PRESENT, config)
        states.append(state)
        predictions.append(prediction)
    return states, predictions


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def overlaps(boxes, target):
    """IoU of each box with the target, in plain Python."""
    found = []
    for x, y, w, h in np.asarray(boxes, np.float64).tolist():
        width = max(0.0, min(x + w, target[0] + target[2]) - max(x, target[0]))
        height = max(0.0, min(y + h, target[1] + target[3]) - max(y, target[1]))
        shared = width * height
        found.append(shared / (w * h + target[2] * target[3] - shared))
    return np.array(found)
