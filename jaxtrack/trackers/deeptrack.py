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
* In colour videos the first cue is likeness to the target's hue, not the H channel (`cues.hue_likeness`), the second
  one the local contrast of grey videos, not the V channel (`cues.value_contrast`).
* The first frame's training is repeated with the hardest negatives of the whole search region (`mining`), and later
  frames take some of their negatives by score (`hard_negatives`).
* An output beyond its label scores no better than one short of it (`folded_score`).
* Frames whose winner the network calls background teach nothing, and widen the search after them (`doubt`).
* The first frame gives 16 positive samples instead of one: one sample with its mirror image is learnt by heart.
* What the paper leaves open is a field of `Config`.
"""

import dataclasses
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from jaxtrack import boxes
from jaxtrack.data.naming import Named
from jaxtrack.errors import UserError, check_numbers
from jaxtrack.images import Frame
from jaxtrack.models.cue_cnn import PATCH, CueCNN, folded, fuse, init_cues, init_fusion, pooled_windows, score
from jaxtrack.online import cue_maps, itsgd, memory, particle_samples, particles
from jaxtrack.online.cue_maps import Cues
from jaxtrack.online.particles import Particles
from jaxtrack.tracker import Prediction, Tracker


@dataclasses.dataclass(frozen=True)
class Config:
    """DeepTrack's constants; the paper's where it gives them."""

    sampling: particles.Sampling = particles.Sampling()
    """How candidates are drawn."""
    cues: Cues = Cues()
    """What the network sees."""
    positives_per_frame: int = 1
    """theta+: positive samples a frame: the target itself, and others that overlap it by more than 0.5."""
    first_positives: int = 16
    """Positive samples of the first frame, a multiple of positives_per_frame."""
    negatives_per_frame: int = 150
    """theta-: negative samples a frame."""
    hard_negatives: float = 0.3
    """Share of them that are the particles of the highest scores; the others are drawn at random."""
    positive_capacity: int = 1000
    """Positive samples kept."""
    negative_capacity: int = 500
    """Negative samples kept."""
    mining: int = 2
    """How often the first frame's training stops to look for hard negatives, and then goes on with them."""
    folded_score: bool = True
    """Score an output beyond its label as one that falls short of it by as much."""
    doubt: bool = True
    """Learn nothing from frames whose winner the network itself calls background, and search wider after them."""
    v: float = 0.75
    """Particles that score above v times the best one's score decide on the label quality Q."""
    training: itsgd.Training = itsgd.Training()
    """How the network learns."""

    def __post_init__(self) -> None:
        """Refuses numbers that the tracker cannot run with."""
        counts = ("positives_per_frame", "first_positives", "negatives_per_frame")
        capacities = ("positive_capacity", "negative_capacity")
        check_numbers(self, positive=(*counts, *capacities), not_negative=("v", "mining", "hard_negatives"))
        if self.negatives_per_frame > self.sampling.particles:
            raise UserError(
                f"negatives_per_frame must be at most sampling.particles ({self.sampling.particles}), "
                f"not {self.negatives_per_frame}"
            )
        if self.hard_negatives > 1:
            raise UserError(f"hard_negatives is a share, at most 1, not {self.hard_negatives:g}")
        if self.first_positives % self.positives_per_frame or self.first_positives > self.positive_capacity:
            raise UserError(
                f"first_positives must be a multiple of positives_per_frame ({self.positives_per_frame}) and at most "
                f"positive_capacity ({self.positive_capacity}), not {self.first_positives}"
            )


CONFIGS = Named("tracker of jaxtrack.trackers.deeptrack", {"deeptrack": Config()})


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
      spread: `float32 []`, factor of the particles' deviation in the next frame; above 1 after frames in doubt.
      positives: `itsgd.Samples` of the target, R of them, the capacity (1000) and a frame's samples more.
      negatives: `itsgd.Samples` of the background; R is the capacity (500), rounded up to whole frames, and a
        frame's more.
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
    spread: jax.Array
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


# --- scoring -------------------------------------------------------------------------------------------------------


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


def _remember(
    config: Config,
    key: jax.Array,
    state: State,
    maps: jax.Array,
    candidates: Particles,
    best: Particles,
    q: jax.Array,
    count: int,
    scores: jax.Array | None = None,
    keep: jax.Array | bool = True,
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
      scores: `[N]`, the particles' scores, where they have any.
      keep: `bool []`, whether to add any at all.
    """
    sampling = config.sampling
    surround_key, negative_key, positive_key = jax.random.split(key, 3)
    around = particles.surroundings(sampling, surround_key, 2 * config.negatives_per_frame, sampling.surround)
    everything = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), candidates, around)
    candidate_boxes = particles.to_boxes(sampling, state.centre, state.size, everything)
    target = particles.to_boxes(sampling, state.centre, state.size, best)
    overlap = boxes.iou(candidate_boxes, jnp.broadcast_to(target, candidate_boxes.shape))
    hard = round(config.hard_negatives * config.negatives_per_frame)
    chosen = particle_samples.negatives(
        negative_key, overlap, scores, drawn=sampling.particles, count=config.negatives_per_frame, hard=hard
    )
    extra = particle_samples.positives(positive_key, overlap, count - 1)
    negatives = jax.tree.map(lambda leaf: leaf[chosen], everything)
    positives = jax.tree.map(lambda one, others: jnp.concatenate([one, others[extra]]), best, everything)
    overlaps = jnp.concatenate([jnp.ones((1,), jnp.float32), overlap[extra]])

    def write(store: memory.Memory, samples: Particles, overlap: jax.Array) -> memory.Memory:
        patches = particles.patches(sampling, maps, samples)
        rows = itsgd.Samples(patches, overlap, jnp.broadcast_to(q, overlap.shape))
        return memory.write(store, rows, state.frame, keep)

    return dataclasses.replace(
        state,
        positives=write(state.positives, positives, overlaps),
        negatives=write(state.negatives, negatives, overlap[chosen]),
    )


def _learn(config: Config, key: jax.Array, state: State, *, first: bool) -> tuple[State, itsgd.Report]:
    network, velocity, report = itsgd.train(
        key, state.network, state.velocity, state.positives, state.negatives, config.training, first=first
    )
    return dataclasses.replace(state, network=network, velocity=velocity), report


def _mine(config: Config, key: jax.Array, state: State, maps: jax.Array, keep: jax.Array) -> State:
    """Adds the first frame's hardest negatives: of particles and surroundings those of the largest loss.

    A network that has seen particles alone knows nothing of what lies farther away, and may answer it with anything.
    """
    sampling = config.sampling
    particle_key, surround_key = jax.random.split(key)
    # Half near and half anywhere, as many as a frame has: the same cost as scoring a frame.
    near = particles.draw(sampling, particle_key, state.size)
    everywhere = particles.surroundings(sampling, surround_key, sampling.particles, surround=jnp.inf)
    pool = jax.tree.map(lambda *leaves: jnp.concatenate([leaf[::2] for leaf in leaves]), near, everywhere)
    pool_boxes = particles.to_boxes(sampling, state.centre, state.size, pool)
    target = particles.to_boxes(sampling, state.centre, state.size, particles.target(sampling))
    overlap = boxes.iou(pool_boxes, jnp.broadcast_to(target, pool_boxes.shape))
    outputs = _outputs(config, state.network, maps, pool)
    errors = itsgd.sample_errors(outputs, jnp.zeros(overlap.shape, bool), overlap, config.training.loss)
    hardest = jax.lax.top_k(jnp.where(overlap <= 0.5, errors, -1.0), config.negatives_per_frame)[1]
    patches = particles.patches(sampling, maps, jax.tree.map(lambda leaf: leaf[hardest], pool))
    rows = itsgd.Samples(patches, overlap[hardest], jnp.ones((config.negatives_per_frame,), jnp.float32))
    negatives = memory.write(state.negatives, rows, state.frame, keep)
    return dataclasses.replace(state, negatives=negatives)


# --- the pair of functions -----------------------------------------------------------------------------------------


def _init(config: Config, params: dict, frame: Frame, box: jax.Array, key: jax.Array) -> State:
    """Starts on the first frame: samples at and around the annotated box train the network from random weights."""
    if jax.tree.leaves(params):
        raise UserError("deeptrack has no parameters: its params are {}, and these belong to another tracker")
    key, cue_key, fusion_key, particle_key, remember_key, learn_key = jax.random.split(key, 6)
    centre, size = box[:2] + box[2:] / 2, box[2:]
    hue = cue_maps.target_hue(frame, box)
    maps = cue_maps.raw(config.cues, config.sampling, frame, centre, size, frame.grey, hue)
    cues = len(config.cues.used)
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
        spread=jnp.ones((), jnp.float32),
        positives=itsgd.create_memory(config.positive_capacity, config.positives_per_frame, patch),
        negatives=itsgd.create_memory(config.negative_capacity, config.negatives_per_frame, patch),
    )
    maps = cue_maps.scaled(config.cues, maps, state.gradient_scale)
    candidates = particles.draw(config.sampling, particle_key, size)
    sure, count = jnp.ones((), jnp.float32), config.first_positives
    target = particles.target(config.sampling)
    state = _remember(config, remember_key, state, maps, candidates, target, sure, count)

    def mine_and_learn(i: jax.Array, state: State) -> State:
        mine_key, train_key = jax.random.split(jax.random.fold_in(learn_key, i))
        if config.mining:
            state = _mine(config, mine_key, state, maps, keep=i > 0)  # an untrained network finds nothing hard
        return _learn(config, train_key, state, first=True)[0]

    state = jax.lax.fori_loop(0, config.mining + 1, mine_and_learn, state)
    return dataclasses.replace(state, frame=state.frame + 1)


def _step(config: Config, params: dict, state: State, frame: Frame) -> tuple[State, Prediction]:
    """One frame: score the particles, take the best, remember samples, train if the loss is high."""
    del params
    particle_key, remember_key, learn_key = jax.random.split(jax.random.fold_in(state.key, state.frame), 3)
    maps = cue_maps.raw(config.cues, config.sampling, frame, state.centre, state.size, state.grey, state.hue)
    maps = cue_maps.scaled(config.cues, maps, state.gradient_scale)
    candidates = particles.draw(config.sampling, particle_key, state.size, state.spread)
    outputs = _outputs(config, state.network, maps, candidates)
    scores = score(folded(outputs) if config.folded_score else outputs)
    candidate_boxes = particles.to_boxes(config.sampling, state.centre, state.size, candidates)
    winner = jnp.argmax(scores)
    box = candidate_boxes[winner]
    overlap = boxes.iou(candidate_boxes, jnp.broadcast_to(box[None], candidate_boxes.shape))
    q, rivals = particle_samples.quality(scores, outputs, overlap, v=config.v, loss=config.training.loss)
    best = jax.tree.map(lambda leaf: leaf[winner][None], candidates)
    sure = (outputs[winner, 0] > outputs[winner, 1]) | (not config.doubt)
    state = _remember(config, remember_key, state, maps, candidates, best, q, config.positives_per_frame, scores, sure)
    wider = jnp.minimum(state.spread * config.sampling.widening, config.sampling.widest)
    centre, size = within(box, frame.size)
    box = jnp.concatenate([centre - size / 2, size])
    state = dataclasses.replace(state, centre=centre, size=size, spread=jnp.where(sure, 1.0, wider))
    state, report = _learn(config, learn_key, state, first=False)
    state = dataclasses.replace(state, frame=state.frame + 1)
    diagnostics = {"quality": q, "rivals": rivals, **report._asdict()}
    return state, Prediction(box=box, score=scores[winner], diagnostics=diagnostics)


def within(box: jax.Array, image_size: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A box's centre (x, y), moved into the image, and its size, shrunk to the image's if it is larger; `[2]` each."""
    extent = image_size[::-1].astype(jnp.float32)
    shrink = jnp.minimum(1.0, jnp.min(extent / box[2:]))
    return jnp.clip(box[:2] + box[2:] / 2, 0.0, extent), shrink * box[2:]
