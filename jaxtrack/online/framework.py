"""MDNet's way of tracking: a classifier of boxes that learns from what it has found (Nam and Han, CVPR 2016).

The first frame trains the last layers of a network on boxes that overlap the target much or little. In every later
frame the network scores boxes drawn around the last one, the best of them are the target, and boxes around it become
new samples. From these the layers are trained again: every few frames on all that are remembered, and at once on the
newest where the target was not found.

Trackers differ in their network, in what they learn it by and in the constants; this is what they share. A step is one
program without branches: what is not due is a loop that runs zero times.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from jaxtrack import boxes as boxes_lib
from jaxtrack.errors import UserError, check_choices, check_numbers, check_shares
from jaxtrack.images import Frame
from jaxtrack.online import frame_memory, mining, ridge, sample_boxes, samplers
from jaxtrack.online.frame_memory import FrameMemory, Pool, Samples
from jaxtrack.online.mining import Mining
from jaxtrack.online.sample_boxes import Reference, Sampling
from jaxtrack.tracker import Prediction


def _no_diagnostics(head: Any) -> dict[str, jax.Array]:
    del head
    return {}


class Model(NamedTuple):
    """What a tracker asks of its network.

    Attributes:
      features: (fixed parameters, frame, boxes `[N, 4]`) to what the trained layers see, `[N, ...]`.
      score: (trained parameters, `Samples` of N boxes) to `float32 [N]`; above 0 is target.
      loss: (trained parameters, `Samples` of a batch, labels `int32 [B]`, key of dropout) to `float32 []`.
      flat: features to what box regression sees, `[N, D]`.
      location: (boxes `[N, 4]`, image size `[2]`) to the location feature, `float32 [N, 4]`.
      diagnostics: trained parameters to named arrays that a frame's prediction shows beside the framework's own.
    """

    features: Callable[[Any, Frame, jax.Array], jax.Array]
    score: Callable[[Any, Samples], jax.Array]
    loss: Callable[[Any, Samples, jax.Array, jax.Array], jax.Array]
    flat: Callable[[jax.Array], jax.Array]
    location: Callable[[jax.Array, jax.Array], jax.Array]
    diagnostics: Callable[[Any], dict[str, jax.Array]] = _no_diagnostics


@dataclasses.dataclass(frozen=True)
class Search:
    """Where a frame's candidates are drawn, and what becomes of them."""

    candidates: int = 256
    """Boxes that are scored in a frame."""
    translation: float = 0.6
    """Farthest shift of their centres, in mean sides of the last box."""
    scale: float = 1.05
    """Largest factor of their size."""
    widening: float = 1.1
    """Factor of `translation` after every frame in which the target was not found …"""
    widest: float = 1.5
    """… up to this value of it."""
    best: int = 5
    """The result is the mean of so many candidates, and so is its score."""

    def __post_init__(self) -> None:
        """Refuses a search that finds nothing."""
        check_numbers(self, positive=("candidates", "translation", "scale", "widening", "widest", "best"))
        if self.best > self.candidates:
            raise UserError(f"{self.best} candidates cannot be the best of {self.candidates}")


@dataclasses.dataclass(frozen=True)
class Memory:
    """How long samples are remembered, and when they are learnt from."""

    positive_frames: int = 100
    """Successful frames whose positives are remembered."""
    negative_frames: int = 20
    """Successful frames whose negatives are remembered."""
    short_frames: int = 20
    """Successful frames whose positives count where the target was not found."""
    interval: int = 10
    """Frames between updates while it is found."""
    half: bool = False
    """Keep features as bfloat16, in half the memory."""

    def __post_init__(self) -> None:
        """Refuses memories that hold nothing."""
        check_numbers(self, positive=("positive_frames", "negative_frames", "short_frames", "interval"))


@dataclasses.dataclass(frozen=True)
class Regression:
    """Correction of the result's box by ridge regression, learnt in the first frame."""

    samples: int = 1000
    """Boxes to learn it from; 0 leaves it out."""
    overlap: float = 0.6
    """Their smallest IoU with the target."""
    penalty: float = 1000.0
    """Of the squared weights."""
    constant: ridge.Constant = "penalised"
    """How the constant is learnt."""
    reference: Reference = "matlab"
    """Whose boxes it is learnt from; and py-MDNet limits its results by the image, the Matlab code does not."""

    def __post_init__(self) -> None:
        """Refuses a negative penalty, and rules that there are not."""
        check_numbers(self, positive=("penalty",), not_negative=("samples",))
        check_shares(self, "overlap")
        check_choices(self, constant=ridge.Constant, reference=Reference)


@dataclasses.dataclass(frozen=True)
class Framework:
    """All constants; the defaults are those of MDNet's paper and Matlab code, boxes not rounded."""

    search: Search = Search()
    """Candidates."""
    sampling: Sampling = Sampling()
    """Samples."""
    mining: Mining = Mining()
    """Learning."""
    memory: Memory = Memory()
    """Memories and updates."""
    regression: Regression = Regression()
    """Box regression."""


@flax.struct.dataclass
class State:
    """Everything that changes from frame to frame.

    Attributes:
      box: `float32 [4]`, the last result before box regression, pixels.
      translation: `float32 []`, farthest shift of the next frame's candidates, in mean sides.
      frame: `int32 []`, the number of the next frame.
      key: the typed random key of the run, `[]`.
      head: the trained layers, `float32` arrays of the network's shapes.
      velocity: their momentum, arrays of the same shapes.
      regressor: box regression, `float32 [D, 4]` and its constants; None where there is none.
      positives: samples of the target, at most `positive_frames` x `positives` newer ones; see `FrameMemory`.
      negatives: samples of the background, at most `negative_frames` x `negatives`.
    """

    box: jax.Array
    translation: jax.Array
    frame: jax.Array
    key: jax.Array
    head: Any
    velocity: Any
    regressor: ridge.Regressor | None
    positives: FrameMemory
    negatives: FrameMemory


def samples_at(model: Model, fixed: Any, frame: Frame, boxes: jax.Array, target: jax.Array) -> Samples:
    """The samples of boxes `[N, 4]` in a frame whose target is at `[4]`."""
    overlap = boxes_lib.iou(boxes, jnp.broadcast_to(target, boxes.shape))
    return Samples(model.features(fixed, frame, boxes), overlap, model.location(boxes, frame.size))


# --- the first frame -----------------------------------------------------------------------------------------------


def init(config: Framework, model: Model, fixed: Any, head: Any, frame: Frame, box: jax.Array, key: jax.Array) -> State:
    """Learns target and background from the first frame.

    Args:
      config: the constants.
      model: the network.
      fixed: its parameters that never change.
      head: those that are trained, as they start.
      frame: the first frame.
      box: `float32 [4]`, the target in it.
      key: the random key of the run.
    """
    key, positive_key, negative_key, later_key, learn_key, regression_key = jax.random.split(key, 6)
    sampling, size = config.sampling, frame.size
    boxes, valid = sample_boxes.positives(sampling, positive_key, box, size, sampling.first_positives)
    positives = _stored(config, samples_at(model, fixed, frame, boxes, box))
    far_boxes, far_valid = sample_boxes.first_negatives(sampling, negative_key, box, size)
    everything = _stored(config, samples_at(model, fixed, frame, far_boxes, box))
    rest = jax.tree.map(jnp.zeros_like, head)
    head, _, _ = mining.train(
        learn_key,
        head,
        rest,
        frame_memory.pool_of(positives, valid),
        frame_memory.pool_of(everything, far_valid),
        config.mining.first_iterations,
        config.mining,
        score=model.score,
        loss=model.loss,
        rate=config.mining.first_rate,
    )
    row = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), positives)
    memory = config.memory
    negatives = frame_memory.create(memory.negative_frames, sampling.negatives, row)
    near, near_valid = sample_boxes.negatives(sampling, later_key, box, size, overlap=sampling.first_negative_overlap)
    near_samples = samples_at(model, fixed, frame, near, box)
    return State(
        box=box,
        translation=jnp.float32(config.search.translation),
        frame=jnp.ones((), jnp.int32),
        key=key,
        head=head,
        velocity=rest,  # The updates' momentum is their own, also where it lasts from one to the next.
        regressor=_learn_regression(config, model, fixed, frame, box, regression_key),
        positives=frame_memory.create(memory.positive_frames, sampling.positives, row, positives, valid),
        negatives=frame_memory.write(negatives, near_samples, near_valid, jnp.zeros((), jnp.int32)),
    )


def _stored(config: Framework, samples: Samples) -> Samples:
    """Samples as the memory keeps them."""
    dtype = jnp.bfloat16 if config.memory.half else jnp.float32
    return samples._replace(features=samples.features.astype(dtype))


def _learn_regression(
    config: Framework, model: Model, fixed: Any, frame: Frame, box: jax.Array, key: jax.Array
) -> ridge.Regressor | None:
    regression = config.regression
    if not regression.samples:
        return None
    count, overlap, reference = regression.samples, regression.overlap, regression.reference
    limits = config.sampling.limits
    boxes, valid = sample_boxes.regression(limits, key, box, frame.size, count, overlap, reference)
    features = model.flat(model.features(fixed, frame, boxes))
    return ridge.fit(features, boxes, box, valid, penalty=regression.penalty, constant=regression.constant)


# --- later frames --------------------------------------------------------------------------------------------------


def step(config: Framework, model: Model, fixed: Any, state: State, frame: Frame) -> tuple[State, Prediction]:
    """Finds the target, remembers samples where it was found, learns where that is due."""
    search_key, collect_key, learn_key = jax.random.split(jax.random.fold_in(state.key, state.frame), 3)
    box, shown, score = _find(config, model, fixed, state, frame, search_key)
    found = score > 0
    wider = jnp.minimum(config.search.widening * state.translation, config.search.widest)
    state = dataclasses.replace(
        state, box=box, translation=jnp.where(found, jnp.float32(config.search.translation), wider)
    )
    state = _collect(config, model, fixed, state, frame, collect_key, found)
    state, report = _learn(config, model, state, learn_key, found)
    diagnostics = {"found": found, "loss": report.loss, "iterations": report.iterations}
    diagnostics |= model.diagnostics(state.head)
    return dataclasses.replace(state, frame=state.frame + 1), Prediction(shown, score, diagnostics)


def _find(
    config: Framework, model: Model, fixed: Any, state: State, frame: Frame, key: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The target's box as it is carried on, the box that is shown, and the score."""
    search = config.search
    candidates = samplers.gaussian(
        key, state.box, frame.size, search.candidates, state.translation, search.scale, config.sampling.limits
    )
    samples = samples_at(model, fixed, frame, candidates, state.box)
    scores, best = jax.lax.top_k(model.score(state.head, samples), search.best)
    box, score = jnp.mean(candidates[best], axis=0), jnp.mean(scores)
    if state.regressor is None:
        return box, box, score
    features = model.flat(samples.features[best])
    edges = frame.size if config.regression.reference == "pytorch" else None
    regressed = jnp.mean(ridge.predict(state.regressor, features, candidates[best], edges), axis=0)
    return box, jnp.where(score > 0, regressed, box), score


def _collect(
    config: Framework, model: Model, fixed: Any, state: State, frame: Frame, key: jax.Array, found: jax.Array
) -> State:
    """Adds the frame's samples to the memories if the target was found; else nothing is computed."""
    sampling = config.sampling
    positive_key, negative_key = jax.random.split(key)
    boxes, valid = sample_boxes.positives(sampling, positive_key, state.box, frame.size, sampling.positives)
    far, far_valid = sample_boxes.negatives(sampling, negative_key, state.box, frame.size)
    both = jnp.concatenate([boxes, far])

    def compute(_: jax.Array, samples: Samples) -> Samples:
        del samples
        return _stored(config, samples_at(model, fixed, frame, both, state.box))

    shapes = jax.eval_shape(lambda: _stored(config, samples_at(model, fixed, frame, both, state.box)))
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    samples = jax.lax.fori_loop(0, found.astype(jnp.int32), compute, nothing)
    count = sampling.positives
    near, away = (jax.tree.map(lambda leaf, part=part: leaf[part], samples) for part in _parts(count))
    return dataclasses.replace(
        state,
        positives=frame_memory.write(state.positives, near, valid, state.frame, found),
        negatives=frame_memory.write(state.negatives, away, far_valid, state.frame, found),
    )


def _parts(count: int) -> tuple[slice, slice]:
    return slice(None, count), slice(count, None)


def _learn(
    config: Framework, model: Model, state: State, key: jax.Array, found: jax.Array
) -> tuple[State, mining.Report]:
    """An update on the newest positives where the target was not found, on all of them every few frames."""
    memory, learning = config.memory, config.mining
    newest = frame_memory.pool(state.positives, memory.short_frames)
    everything = frame_memory.pool(state.positives)
    positives = Pool(everything.parts, jnp.where(found, everything.valid, newest.valid))
    due = ~found | (state.frame % memory.interval == 0)
    head, velocity, report = mining.train(
        key,
        state.head,
        state.velocity,
        positives,
        frame_memory.pool(state.negatives),
        jnp.where(due, learning.iterations, 0),
        learning,
        score=model.score,
        loss=model.loss,
        rate=learning.rate,
    )
    return dataclasses.replace(state, head=head, velocity=velocity), report
