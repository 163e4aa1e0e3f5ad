"""What a Siamese tracker's network said once, replayed under other constants: a cheap guess of how well they track.

A search crop lies where the tracker was a frame before, so what the network says depends on all earlier decisions and
cannot be computed once for every choice of constants. A `Recording` holds what it said along one run, the reference:
for every frame the centre and size that the crop was cut around, and the candidates that could be chosen. The reference
is the tracker with its current constants, put back on the annotation whenever it has lost the target altogether, so
that no frame is wasted on crops without it.

`replayed_overlap` then lets many triples of constants track through the recording at once. Each has a centre and a size
of its own, which roll forward from frame to frame: the candidates are moved and scaled from the reference's crop into
the one that the triple would have cut, and the tracker's own `decide` chooses. So the window follows the triple's
centre, the penalty its size, smoothing accumulates, and whoever jumps to a distractor stays there. Every `SYNC_FRAMES`
frames, and where the reference was put back, all of them begin again from the reference's centre and size. The score is
the mean overlap with the annotation, each sequence with equal weight as in AUC, over the frames in whose recorded crop
the centre of a visible target lies.

What it cannot know, and why a true run must decide:

* Scores and boxes are taken to be the same in a crop that is cut a little elsewhere, or at another scale.
* What `calibration` changes in the boxes that are told of is left out.
* A triple never sees what lay outside the reference's crop.
* A failure costs at most `SYNC_FRAMES` frames, and sizes drift for no longer. With NanoTrack v2, random triples' replay
  and true AUC had rank correlations of 0.84, 0.86, 0.87 for 1, 20, 40 frames (20 triples, 6 sequences of OTB-100), and
  of 0.52, 0.56, 0.04 for 1, 20, 29 (24 triples, `procedural`, AUC between 0.735 and 0.763).

A frame takes 22 bytes a candidate and about 60 besides: 2.9 kB with 128 candidates, 29 MB for 10,000 frames.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack import boxes, running
from jaxtrack.compilation import Program
from jaxtrack.data.sequences import Sequence as VideoSequence
from jaxtrack.errors import UserError
from jaxtrack.evaluation.progress import Reporter
from jaxtrack.images import Frame
from jaxtrack.models.decision import MIN_SIDE_PX, Constants, box_of, changes, clipped, context_side, decide
from jaxtrack.models.grids import Candidates, grid
from jaxtrack.tracker import Prediction, Tracker
from jaxtrack.trackers import siamese
from jaxtrack.trackers.siamese import Config, Parts

RANGES = {"penalty": (0.0, 0.6), "window_influence": (0.05, 0.65), "smoothing": (0.1, 0.8)}
"""Where constants are searched: the ranges of SiamBAN's search, which hold most of the published constants."""
KEPT = 128
"""Candidates kept of a frame: those that rank highest for penalties and windows all over `RANGES`."""
SYNC_FRAMES = 20
"""How long a triple follows its own decisions before it begins again from the reference."""

_RULES = list(itertools.product(*(np.linspace(*RANGES[name], 4) for name in ("penalty", "window_influence"))))
_TRIPLES_AT_ONCE = 256
_OUTSIDE_CELLS = 0.01  # how far a candidate may lie outside the grid and count as in it: rounding


class Variable(NamedTuple):
    """Parameters of `variable_tracker`: the network's, and the constants that the configuration would give."""

    weights: Any
    constants: Constants


@flax.struct.dataclass
class Recording:
    """What was recorded of F frames of all sequences, one after another, with K candidates each.

    Attributes:
      scores: `float32 [F, K]`, the candidates' scores.
      boxes_cxcywh: `float32 [F, K, 4]`, their boxes in crop pixels, the crop's centre at 0.
      index: `uint16 [F, K]`, their place among all candidates, which tells the cell of the grid.
      centre: `float32 [F, 2]`, (x, y) that the crop was cut around, pixels.
      size: `float32 [F, 2]`, (width, height) that it was cut around, pixels.
      image_size: `int32 [F, 2]`, (height, width).
      truth: `float32 [F, 4]`, the annotation, (x, y, w, h).
      weight: `float32 [F]`, share of a frame's overlap in the score; 0 where it does not count; the sum is 1.
      sync: `bool [F]`, whether a triple begins here with the reference's centre and size.
      restarted: `bool [F]`, whether the reference had been put back on the target before the frame.
    """

    scores: jax.Array
    boxes_cxcywh: jax.Array
    index: jax.Array
    centre: jax.Array
    size: jax.Array
    image_size: jax.Array
    truth: jax.Array
    weight: jax.Array
    sync: jax.Array
    restarted: jax.Array

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.weight)

    @property
    def bytes_per_frame(self) -> float:
        """Memory that a frame takes."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self)) / self.frames


def parts_of(config: Config) -> Parts:
    """The tracker of a configuration; `UserError` if it is a long-term one, which decides otherwise."""
    if config.long_term:
        raise UserError("constants are tuned for a short-term tracker: leave long_term out")
    return siamese.parts_of(config)


def as_constants(triples: np.ndarray) -> Constants:
    """(penalty, window_influence, smoothing) in the last axis of an array, as `Constants` of float32."""
    return Constants(*(jnp.asarray(column, jnp.float32) for column in np.moveaxis(np.asarray(triples), -1, 0)))


# --- the tracker with constants among its parameters ---------------------------------------------------------------


def variable_tracker(parts: Parts) -> Tracker:
    """The tracker, its constants read from its parameters (`Variable`): one compiled program for every choice."""

    def init(params: Variable, frame: Frame, box: jax.Array, key: jax.Array) -> siamese.State:
        return siamese.make_tracker(*parts).init(params.weights, frame, box, key)

    def step(params: Variable, state: siamese.State, frame: Frame) -> tuple[siamese.State, Prediction]:
        return siamese.advance(parts, params.weights, params.constants, state, frame)[2:]

    return Tracker(init, step)


# --- recording -----------------------------------------------------------------------------------------------------


class _Annotated(NamedTuple):
    """Parameters of the recording tracker: those of `variable_tracker`, and the annotation of every frame."""

    variable: Variable
    boxes: jax.Array  # float32 [N, 4]
    valid: jax.Array  # bool [N]


@flax.struct.dataclass
class _RecordingState:
    """The tracker's state, the number of its frame `int32 []`, and whether it was put on the annotation, `bool []`."""

    tracker: siamese.State
    frame: jax.Array
    restarted: jax.Array


def _recording_tracker(parts: Parts) -> Tracker:
    """`variable_tracker`, put back on the target when lost; what it sees is among the predictions' diagnostics."""
    inner = variable_tracker(parts)

    def init(params: _Annotated, frame: Frame, box: jax.Array, key: jax.Array) -> _RecordingState:
        state = inner.init(params.variable, frame, box, key)
        return _RecordingState(state, jnp.zeros((), jnp.int32), jnp.zeros((), bool))

    def step(params: _Annotated, state: _RecordingState, frame: Frame) -> tuple[_RecordingState, Prediction]:
        weights, constants = params.variable
        found, scale, after, prediction = siamese.advance(parts, weights, constants, state.tracker, frame)
        index = state.frame + 1
        truth = params.boxes[index]
        lost = params.valid[index] & (boxes.iou(prediction.box, truth) == 0)
        centre = jnp.where(lost, truth[:2] + truth[2:] / 2, after.centre)
        size = jnp.where(lost, jnp.maximum(truth[2:], MIN_SIDE_PX), after.size)
        seen = {
            **_kept(found, siamese.windows(parts, found), state.tracker.size * scale),
            "centre": state.tracker.centre,
            "size": state.tracker.size,
            "image_size": frame.size,
            "restarted": state.restarted,
        }
        after = dataclasses.replace(after, centre=centre, size=size)
        return _RecordingState(after, index, lost), prediction._replace(diagnostics=seen)

    return Tracker(init, step)


def _kept(found: Candidates, windows: jax.Array, size_px: jax.Array) -> dict[str, jax.Array]:
    """The candidates that some choice of constants may prefer, at most `KEPT`.

    Args:
      found: all candidates.
      windows: `float32 [N]`, their windows.
      size_px: `float32 [2]`, the last size in crop pixels.
    """
    taken = jnp.full(len(found.scores), len(found.scores) <= KEPT)
    if len(found.scores) > KEPT:
        change = changes(found.boxes_cxcywh[:, 2:], size_px)
        for i, (penalty, weight) in enumerate(_RULES):
            ranks = jnp.exp(-change * penalty) * found.scores * (1 - weight) + windows * weight
            quota = KEPT * (i + 1) // len(_RULES) - KEPT * i // len(_RULES)
            taken = taken.at[jax.lax.top_k(jnp.where(taken, -1.0, ranks), quota)[1]].set(True)
    index = jnp.flatnonzero(taken, size=min(KEPT, len(found.scores)))  # in order: the first of equals wins
    return {
        "scores": found.scores[index],
        "boxes_cxcywh": found.boxes_cxcywh[index],
        "index": index.astype(jnp.uint16),
    }


def record(
    parts: Parts, variable: Variable, sequences: Sequence[VideoSequence], reporter: Reporter | None = None
) -> Recording:
    """Runs the tracker once over every sequence and keeps what the network said.

    Args:
      parts: the tracker.
      variable: its weights and current constants.
      sequences: the videos, with their annotations.
      reporter: hears of the progress.

    Raises:
      UserError: a sequence cannot be tracked, or none shows its target in a frame after the first.
    """
    reporter = reporter or Reporter()
    tracker, rows = _recording_tracker(parts), []
    longest = max(len(sequence) for sequence in sequences)
    for sequence in sequences:
        reporter.sequence("recording", sequence.name, len(sequence))
        # Padded, so that one program serves all lengths.
        truth, valid = np.ones((longest, 4), np.float32), np.zeros(longest, bool)
        truth[: len(sequence)], valid[: len(sequence)] = sequence.boxes, sequence.valid
        params = _Annotated(variable, jnp.asarray(truth), jnp.asarray(valid))
        track = running.run(tracker, params, sequence, sequence.boxes[0], on_progress=reporter.frames)
        rows.append(_rows(parts, track.diagnostics, sequence))
        reporter.finished()
    joined = {name: np.concatenate([part[name] for part in rows]) for name in rows[0]}
    shown = sum(part["weight"].any() for part in rows)
    if not shown:
        raise UserError("no frame after the first shows its target: there is nothing to tune the constants on")
    joined["weight"] /= np.float32(shown)
    return Recording(**{name: jnp.asarray(column) for name, column in joined.items()})


def _rows(parts: Parts, seen: dict[str, np.ndarray], sequence: VideoSequence) -> dict[str, np.ndarray]:
    """What was recorded of the frames after a sequence's first; its weights sum to 1 (or are all 0)."""
    truth = sequence.boxes[1:].astype(np.float32)
    side = context_side(jnp.asarray(seen["size"]), parts.config.context)  # [F]
    reach_px = np.asarray(side)[:, None] * parts.architecture.search_px / parts.architecture.template_px / 2
    inside = np.all(np.abs(truth[:, :2] + truth[:, 2:] / 2 - seen["centre"]) <= reach_px, axis=1)
    counted = inside & sequence.valid[1:]
    sync = seen["restarted"] | (np.arange(len(truth)) % SYNC_FRAMES == 0)
    weight = counted.astype(np.float32) / max(int(counted.sum()), 1)
    return {**seen, "truth": truth, "weight": weight, "sync": sync}


# --- replaying -----------------------------------------------------------------------------------------------------


def replayed_overlap(
    parts: Parts, recording: Recording, triples: np.ndarray, on_progress: Callable[[int], None] | None = None
) -> np.ndarray:
    """The mean overlap that triples of constants reach on a recording (see the module's docstring).

    Args:
      parts: the tracker.
      recording: what its network said.
      triples: `[T, 3]`, (penalty, window_influence, smoothing).
      on_progress: called with the number of triples done.

    Returns:
      `float32 [T]` in [0, 1]; memory for 256 triples is needed at a time.
    """
    program = Program(jax.vmap(functools.partial(_replay, parts), in_axes=(None, 0)))
    width, scores = min(_TRIPLES_AT_ONCE, len(triples)), []
    for start in range(0, len(triples), width):
        chunk = triples[start : start + width]
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], width - len(chunk), axis=0)])
        scores.append(np.asarray(program(recording, as_constants(padded)))[: len(chunk)])
        if on_progress is not None:
            on_progress(start + len(chunk))
    return np.concatenate(scores)


def _replay(parts: Parts, recording: Recording, constants: Constants) -> jax.Array:
    """The score of one triple: a scan over the frames."""

    def body(carry: tuple[jax.Array, jax.Array, jax.Array], row: Recording):
        centre, size, score = carry
        centre = jnp.where(row.sync, row.centre, centre)
        size = jnp.where(row.sync, row.size, size)
        centre, size = _decide(parts, row, constants, centre, size)
        score += row.weight * boxes.iou(box_of(centre, size), row.truth)
        return (centre, size, score), None

    start = (recording.centre[0], recording.size[0], jnp.zeros(()))
    return jax.lax.scan(body, start, recording)[0][2]


def _decide(
    parts: Parts, row: Recording, constants: Constants, centre: jax.Array, size: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Centre and size after a frame; as before where nothing recorded lies in the crop."""
    config, architecture, _ = parts
    scale = architecture.template_px / context_side(size, config.context)
    found, windows = _seen_from(parts, row, centre, scale)
    decision = decide(found, constants, windows, centre, size, scale)
    frame = Frame(jnp.zeros((1, 1, 3), jnp.uint8), row.image_size, jnp.zeros((), bool))
    new_centre, new_size = clipped(decision.centre, decision.size, frame)
    seen = jnp.any(windows >= 0)
    return jnp.where(seen, new_centre, centre), jnp.where(seen, new_size, size)


def _seen_from(parts: Parts, row: Recording, centre: jax.Array, scale: jax.Array) -> tuple[Candidates, jax.Array]:
    """A frame's candidates in pixels of a crop around `centre` at `scale`, and their windows; -1 outside the crop."""
    config, architecture, _ = parts
    recorded_scale = architecture.template_px / context_side(row.size, config.context)
    zoom, offset = scale / recorded_scale, (row.centre - centre) * scale
    stride, side = architecture.stride_px, architecture.score_cells
    points = jnp.asarray(grid(side, stride))[row.index.astype(jnp.int32) % (side * side)]  # [K, 2]
    steps = (points * zoom + offset[None]) / stride + side // 2  # [K, 2], cells from the grid's corner
    inside = jnp.all((steps > -_OUTSIDE_CELLS) & (steps < side - 1 + _OUTSIDE_CELLS), axis=-1)
    windows = jnp.prod(0.5 - 0.5 * jnp.cos(2 * jnp.pi * steps / (side - 1)), axis=-1)
    moved = jnp.concatenate([row.boxes_cxcywh[:, :2] * zoom + offset[None], row.boxes_cxcywh[:, 2:] * zoom], axis=-1)
    return Candidates(jnp.where(inside, row.scores, 0.0), moved), jnp.where(inside, windows, -1.0)
