"""DeepTrack: an online CNN trained from random weights on the sequence itself.

Li, Li, Porikli: "DeepTrack: Learning Discriminative Feature Representations Online for Robust Visual Tracking", IEEE
Transactions on Image Processing 2016. Per frame: particles around the last state are scored by three small networks,
one an image cue, and a fusion layer; the best one is the target. Memories of positive and negative patches feed
IT-SGD, which runs only when the loss is high.

Where this differs from the paper, and why (figures: docs/deeptrack.md):

* Cues are computed on a region of interest resampled so that a patch covers 32 x 32 cells whatever the target's size,
  and particles lie on that grid: positions are rounded to 1/32 of a patch, sizes to one of `scale_levels` factors.
  Overlapping particles then share the first layer. `exact=True` evaluates every particle on its own crop.
* A patch reaches 1/8 of a side beyond the target (`context`), and the network sees the cues minus 5, the middle of
  their range: the same functions, learnt many times faster.
* In colour videos the second cue is the local contrast of grey videos, not the V channel (`value_contrast`), and the H
  channel is turned so that the target's hue lies in the middle of its range, and fades where there is no colour.
* The first frame gives 16 positive samples instead of one: one sample with its mirror image is learnt by heart.
* What the paper leaves open is a field of `Config`.
"""

import dataclasses
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from jaxtrack import boxes, images
from jaxtrack.errors import UserError, check_numbers
from jaxtrack.images import Frame
from jaxtrack.models.cue_cnn import PATCH, CueCNN, fuse, init_cues, init_fusion, pooled_windows
from jaxtrack.online import itsgd, memory, particles
from jaxtrack.online.particles import Particles
from jaxtrack.tracker import Prediction, Tracker

RANGE = 10.0  # Every cue is scaled to [0, 10].


@dataclasses.dataclass(frozen=True)
class Config:
    """DeepTrack's constants; the paper's where it gives them."""

    sampling: particles.Sampling = particles.Sampling()
    """How candidates are drawn."""
    cues: tuple[int, ...] = (0, 1, 2)
    """Which of the three cues are used."""
    hue_fade: float = 20.0
    """Chroma, in grey levels, at which the hue cue has faded by half; 0 keeps the hue of grey pixels."""
    value_contrast: bool = True
    """Colour videos: the second cue is local contrast (of the second radius) instead of the V channel."""
    contrast_radii: tuple[float, float] = (0.1, 0.15)
    """Radii of the two local contrast normalisations (grey videos), as a share of the target's height."""
    positives_per_frame: int = 1
    """theta+: positive samples a frame: the target itself, and others that overlap it by more than 0.5."""
    first_positives: int = 16
    """Positive samples of the first frame, a multiple of positives_per_frame."""
    negatives_per_frame: int = 150
    """theta-: negative samples a frame."""
    positive_capacity: int = 1000
    """Positive samples kept."""
    negative_capacity: int = 500
    """Negative samples kept."""
    v: float = 0.75
    """Particles that score above v times the best one's score decide on the label quality Q."""
    training: itsgd.Training = itsgd.Training()
    """How the network learns."""

    def __post_init__(self) -> None:
        """Refuses numbers that the tracker cannot run with."""
        counts = ("positives_per_frame", "first_positives", "negatives_per_frame")
        capacities = ("positive_capacity", "negative_capacity")
        check_numbers(self, positive=(*counts, *capacities, "contrast_radii"), not_negative=("hue_fade", "v"))
        if not self.cues or not set(self.cues) <= {0, 1, 2} or len(set(self.cues)) < len(self.cues):
            raise UserError(f"cues must be some of 0, 1 and 2, each once, not {self.cues}")
        if self.first_positives % self.positives_per_frame or self.first_positives > self.positive_capacity:
            raise UserError(
                f"first_positives must be a multiple of positives_per_frame ({self.positives_per_frame}) and at most "
                f"positive_capacity ({self.positive_capacity}), not {self.first_positives}"
            )


CONFIGS = {"deeptrack": Config()}


@flax.struct.dataclass
class State:
    """Everything that changes from frame to frame.

    Attributes:
      centre: `float32 [2]`, the target's centre (x, y), pixels.
      size: `float32 [2]`, the target's (width, height), pixels; their ratio never changes.
      frame: `int32 []`, the number of the next frame.
      key: the random key of the run.
      grey: `bool []`, whether the first frame was grey; it chooses the cues.
      hue: `float32 []`, the target's mean hue in the first frame, in [0, 1).
      gradient_scale: `float32 []`, 99th percentile of the gradient in the first frame's region of interest.
      network: CueCNN's parameters of each cue, and the fusion layer's.
      velocity: momentum, of the network's structure.
      positives: patches `[R, 32, 32, K]` of the target, R the capacity (1000).
      negatives: patches `[R, 32, 32, K]` of the background; R is the capacity (500), rounded up to whole frames.
    """

    centre: jax.Array
    size: jax.Array
    frame: jax.Array
    key: jax.Array
    grey: jax.Array
    hue: jax.Array
    gradient_scale: jax.Array
    network: Any
    velocity: Any
    positives: memory.Memory
    negatives: memory.Memory


def init_params(config: Config, key: jax.Array) -> dict:
    """DeepTrack has no parameters that outlive a sequence: its network starts from random weights."""
    del config, key
    return {}


@functools.lru_cache
def tracker(config: Config = CONFIGS["deeptrack"]) -> Tracker:
    """The tracker of a configuration; the same object for the same configuration."""
    return Tracker(init=functools.partial(_init, config), step=functools.partial(_step, config))


# --- cues ----------------------------------------------------------------------------------------------------------


def _target_hue(frame: Frame, box: jax.Array) -> jax.Array:
    """The mean direction of the hues inside a box on the colour circle, weighted by chroma; `[]` in [0, 1)."""
    rgb = images.crop_area(frame.pixels, frame.size, box, (PATCH, PATCH))
    chroma = jnp.max(rgb, axis=-1) - jnp.min(rgb, axis=-1)
    angle = 2 * jnp.pi * images.hue_from_rgb(rgb)
    mean = jnp.arctan2(jnp.sum(chroma * jnp.sin(angle)), jnp.sum(chroma * jnp.cos(angle)))
    return (mean / (2 * jnp.pi)) % 1.0


def _hue_cue(config: Config, rgb: jax.Array, hue: jax.Array) -> jax.Array:
    """The H channel turned so that the target's own hue lies in the middle of the range; `[H, W, 3]` to `[H, W]`.

    Hue is a circle: red, skin above all, would otherwise jump between both ends of the range. And where there is
    hardly any colour the hue is noise; it fades to 0, the value that HSV gives to grey.
    """
    chroma = jnp.max(rgb, axis=-1) - jnp.min(rgb, axis=-1)
    turned = (images.hue_from_rgb(rgb) - hue + 0.5) % 1.0
    return turned * chroma / (chroma + config.hue_fade) if config.hue_fade else turned


def _cue_maps(
    config: Config, frame: Frame, centre: jax.Array, size: jax.Array, grey: jax.Array, hue: jax.Array
) -> jax.Array:
    """The three cues around the target at every size, `[L, H, W, 3]`, the gradient not yet scaled."""
    # Blur radii are shares of the target's height; a column of the map is wider or narrower than a row.
    per_row = PATCH / config.sampling.context
    per_column = per_row * size[1] / size[0]

    def one_level(factor: jax.Array) -> jax.Array:
        box = particles.map_box(config.sampling, centre, size, factor)
        rgb = images.crop_area(frame.pixels, frame.size, box, config.sampling.map_size)
        luma = images.grey_from_rgb(rgb)
        contrasts = [
            (jnp.clip(images.local_contrast(luma, jnp.float32(r * per_row), r * per_column), -3, 3) + 3) / 6
            for r in config.contrast_radii
        ]
        value = contrasts[1] if config.value_contrast else images.value_from_rgb(rgb)
        colour = [_hue_cue(config, rgb, hue), value]
        pair = jnp.where(grey, jnp.stack(contrasts, -1), jnp.stack(colour, -1))
        return jnp.concatenate([RANGE * pair, images.gradient_magnitude(luma)[..., None]], axis=-1)

    return jax.lax.map(one_level, jnp.asarray(config.sampling.factors()))


def _scale_gradient(config: Config, maps: jax.Array, scale: jax.Array) -> jax.Array:
    """Scales the gradient to [0, 10] by the first frame's constant and picks the cues; `[L, H, W, K]`."""
    gradient = RANGE * jnp.clip(maps[..., 2:] / scale, 0, 1)
    return jnp.concatenate([maps[..., :2], gradient], axis=-1)[..., list(config.cues)]


def _outputs(config: Config, network: itsgd.Network, maps: jax.Array, candidates: Particles) -> jax.Array:
    """The fused scores of candidates, `[N, 2]`."""
    if config.sampling.exact:

        def scores(candidate: Particles) -> jax.Array:
            patch = particles.patches(config.sampling, maps, jax.tree.map(lambda leaf: leaf[None], candidate))
            return fuse(network["fusion"], itsgd.hidden_responses(network["cues"], jnp.moveaxis(patch, -1, 0)))[0]

        return jax.lax.map(scores, candidates, batch_size=250)
    row, column = candidates.row.astype(jnp.int32), candidates.column.astype(jnp.int32)

    def hidden(params: dict, cue: jax.Array) -> jax.Array:
        model = CueCNN()
        responses = model.apply(params, cue, method=model.response_1)
        windows = pooled_windows(responses, candidates.level, row, column)  # type: ignore[arg-type]
        return model.apply(params, windows, method=model.hidden)  # type: ignore[return-value]

    per_cue = [hidden(params, maps[..., k]) for k, params in enumerate(network["cues"])]
    return fuse(network["fusion"], jnp.stack(per_cue))


# --- learning ------------------------------------------------------------------------------------------------------


def quality(config: Config, scores: jax.Array, outputs: jax.Array, overlap: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Q, the probability that a frame's labels are right, and |P|, the number of particles that rival the best.

    Args:
      config: the constants.
      scores: `[N]`, the particles' scores S.
      outputs: `[N, 2]`, their fused outputs.
      overlap: `[N]`, their IoU with the best one's box.
    """
    best = jnp.max(scores)
    # S may be negative everywhere; v times the best would then choose nothing, or everything.
    threshold = jnp.where(best > 0, config.v * best, jnp.percentile(scores, 95.0))
    rivals = scores > threshold
    errors = itsgd.sample_errors(outputs, overlap > 0.5, overlap, config.training.loss)
    count = jnp.sum(rivals.astype(jnp.float32))
    mean = jnp.sum(jnp.where(rivals, errors, 0.0)) / jnp.maximum(count, 1.0)
    return jnp.clip(1.0 - mean, 0.01, 1.0), count


def _choose_negatives(config: Config, key: jax.Array, overlap: jax.Array) -> jax.Array:
    """Indices of the frame's negatives, `[negatives_per_frame]`, among the particles and the surroundings.

    At random among the particles with an overlap of at most 0.5; where there are too few, surroundings fill up.

    Args:
      config: the constants.
      key: a typed random key.
      overlap: `[N + M]`, the IoU of N particles and M surrounding positions with the target's box.
    """
    order = jax.random.uniform(key, overlap.shape, jnp.float32)
    is_particle = jnp.arange(len(overlap), dtype=jnp.int32) < config.sampling.particles
    rank = jnp.where(overlap <= 0.5, jnp.where(is_particle, 2.0, 1.0), 0.0)
    return jax.lax.top_k(rank + order, config.negatives_per_frame)[1]


def _choose_positives(key: jax.Array, overlap: jax.Array, count: int) -> jax.Array:
    """Indices of positives besides the target itself, `[count]`, at random among those with an overlap above 0.5."""
    order = jax.random.uniform(key, overlap.shape, jnp.float32)
    # Where too few overlap that much, the nearest ones stand in.
    rank = jnp.where(overlap > 0.5, 2.0 + order, overlap)
    return jax.lax.top_k(rank, count)[1]


def _remember(
    config: Config,
    key: jax.Array,
    state: State,
    maps: jax.Array,
    candidates: Particles,
    best: Particles,
    q: jax.Array,
    count: int,
) -> State:
    """Adds the frame's samples to the memories.

    Args:
      config: the constants.
      key: a typed random key.
      state: the state; `centre` and `size` are still those that the maps were made for.
      maps: cue maps `[L, H, W, K]`.
      candidates: the frame's N particles.
      best: the target's state, a single particle.
      q: `[]`, the label quality.
      count: how many positive samples to add.
    """
    sampling = config.sampling
    surround_key, negative_key, positive_key = jax.random.split(key, 3)
    around = particles.surroundings(sampling, surround_key, 2 * config.negatives_per_frame)
    everything = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), candidates, around)
    candidate_boxes = particles.to_boxes(sampling, state.centre, state.size, everything)
    target = particles.to_boxes(sampling, state.centre, state.size, best)
    overlap = boxes.iou(candidate_boxes, jnp.broadcast_to(target, candidate_boxes.shape))
    chosen = _choose_negatives(config, negative_key, overlap)
    extra = _choose_positives(positive_key, overlap, count - 1)
    negatives = jax.tree.map(lambda leaf: leaf[chosen], everything)
    positives = jax.tree.map(lambda one, others: jnp.concatenate([one, others[extra]]), best, everything)
    overlaps = jnp.concatenate([jnp.ones((1,), jnp.float32), overlap[extra]])
    patch = functools.partial(particles.patches, sampling, maps)
    return dataclasses.replace(
        state,
        positives=memory.write(state.positives, patch(positives), state.frame, overlaps, q),
        negatives=memory.write(state.negatives, patch(negatives), state.frame, overlap[chosen], q),
    )


def _learn(config: Config, key: jax.Array, state: State, *, first: bool) -> tuple[State, itsgd.Report]:
    network, velocity, report = itsgd.train(
        key, state.network, state.velocity, state.positives, state.negatives, config.training, first=first
    )
    return dataclasses.replace(state, network=network, velocity=velocity, frame=state.frame + 1), report


# --- the pair of functions -----------------------------------------------------------------------------------------


def _init(config: Config, params: dict, frame: Frame, box: jax.Array, key: jax.Array) -> State:
    """Starts on the first frame: samples at and around the annotated box train the network from random weights."""
    del params
    key, cue_key, fusion_key, particle_key, remember_key, learn_key = jax.random.split(key, 6)
    centre, size = box[:2] + box[2:] / 2, box[2:]
    hue = _target_hue(frame, box)
    maps = _cue_maps(config, frame, centre, size, frame.grey, hue)
    cues = len(config.cues)
    network = {"cues": init_cues(cue_key, cues), "fusion": init_fusion(fusion_key, cues)}
    patch = (PATCH, PATCH, cues)
    state = State(
        centre=centre,
        size=size,
        frame=jnp.zeros((), jnp.int32),
        key=key,
        grey=frame.grey,
        hue=hue,
        gradient_scale=jnp.maximum(jnp.percentile(maps[..., 2], 99.0), 1e-3),
        network=network,
        velocity=jax.tree.map(jnp.zeros_like, network),
        positives=memory.create(config.positive_capacity, config.positives_per_frame, patch),
        negatives=memory.create(config.negative_capacity, config.negatives_per_frame, patch),
    )
    maps = _scale_gradient(config, maps, state.gradient_scale)
    candidates = particles.draw(config.sampling, particle_key, size)
    sure, count = jnp.ones((), jnp.float32), config.first_positives
    target = particles.target(config.sampling)
    state = _remember(config, remember_key, state, maps, candidates, target, sure, count)
    return _learn(config, learn_key, state, first=True)[0]


def _step(config: Config, params: dict, state: State, frame: Frame) -> tuple[State, Prediction]:
    """One frame: score the particles, take the best, remember samples, train if the loss is high."""
    del params
    particle_key, remember_key, learn_key = jax.random.split(jax.random.fold_in(state.key, state.frame), 3)
    maps = _cue_maps(config, frame, state.centre, state.size, state.grey, state.hue)
    maps = _scale_gradient(config, maps, state.gradient_scale)
    candidates = particles.draw(config.sampling, particle_key, state.size)
    outputs = _outputs(config, state.network, maps, candidates)
    scores = score(outputs)
    candidate_boxes = particles.to_boxes(config.sampling, state.centre, state.size, candidates)
    winner = jnp.argmax(scores)
    box = candidate_boxes[winner]
    overlap = boxes.iou(candidate_boxes, jnp.broadcast_to(box[None], candidate_boxes.shape))
    q, rivals = quality(config, scores, outputs, overlap)
    best = jax.tree.map(lambda leaf: leaf[winner][None], candidates)
    state = _remember(config, remember_key, state, maps, candidates, best, q, config.positives_per_frame)
    state = dataclasses.replace(state, centre=box[:2] + box[2:] / 2, size=box[2:])
    state, report = _learn(config, learn_key, state, first=False)
    diagnostics = {"quality": q, "rivals": rivals, **report._asdict()}
    return state, Prediction(box=box, score=scores[winner], diagnostics=diagnostics)


def score(outputs: jax.Array) -> jax.Array:
    """S = s1 exp(s1 - s2), the score of a candidate (section III-A); `[..., 2]` to `[...]`."""
    return outputs[..., 0] * jnp.exp(outputs[..., 0] - outputs[..., 1])
