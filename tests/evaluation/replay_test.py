"""Recordings of Siamese trackers, and constants replayed on them; the oracle is a plain loop."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from siamese_brightness import red_parts, red_square

from jaxtrack import UserError, images, running
from jaxtrack.data.sequences import Sequence
from jaxtrack.evaluation import replay
from jaxtrack.models.decision import decide
from jaxtrack.models.grids import Candidates, candidate_windows
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.trackers import siamese
from jaxtrack.trackers.siamese import Config, Network, Parts

TRIPLES = np.random.default_rng(3).uniform((0, 0.05, 0.1), (0.6, 0.65, 0.8), (7, 3))


def constants_of(parts):
    config = parts.config
    return replay.as_constants(np.asarray([config.penalty, config.window_influence, config.smoothing]))


def record(parts, *sequences):
    return replay.record(parts, replay.Variable({}, constants_of(parts)), sequences)


def fixed_parts(architecture):
    """A tracker whose network says the same random things in every frame."""
    random = np.random.default_rng(5)
    if architecture == "siamrpn_r50":
        cls, loc = random.normal(size=(1, 25, 25, 10)), 0.2 * random.normal(size=(1, 25, 25, 20))
    else:
        side = ARCHITECTURES[architecture].score_cells
        cls, loc = random.normal(size=(1, side, side, 2)), 24 * np.exp(0.2 * random.normal(size=(1, side, side, 4)))
    maps = (jnp.asarray(cls, jnp.float32), jnp.asarray(loc, jnp.float32))
    network = Network(template=lambda params, crop: jnp.zeros(()), search=lambda params, kept, crop: maps)
    return Parts(Config(architecture=architecture), ARCHITECTURES[architecture], network)


# --- the tracker with constants among its parameters -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["moving", "growing"])
def test_constants_as_parameters_track_as_constants_of_the_configuration(kind):
    video = red_square(distractor=True)
    parts = red_parts() if kind == "moving" else fixed_parts("siamban_r50")
    tracker = replay.variable_tracker(parts)
    for penalty, influence, smoothing in TRIPLES[:2]:
        config = dataclasses.replace(parts.config, penalty=penalty, window_influence=influence, smoothing=smoothing)
        true = running.run(siamese.make_tracker(config, *parts[1:]), {}, video, video.boxes[0])
        variable = replay.Variable({}, replay.as_constants(np.asarray([penalty, influence, smoothing])))
        ours = running.run(tracker, variable, video, video.boxes[0])
        np.testing.assert_allclose(ours.boxes, true.boxes, atol=1e-4)
        np.testing.assert_allclose(ours.scores, true.scores, atol=1e-6)


def test_one_program_serves_all_constants():
    video, other = red_square(), red_square(frames=5)
    tracker = replay.variable_tracker(red_parts())
    for triple in TRIPLES[:2]:
        for each in (video, other):
            running.run(tracker, replay.Variable({}, replay.as_constants(triple)), each, each.boxes[0])
    assert running.programs(tracker).chunk.compilations == 1


def test_a_long_term_tracker_is_refused():
    with pytest.raises(UserError, match="leave long_term out"):
        replay.parts_of(Config(long_term=True))


# --- recording ---------------------------------------------------------------------------------------------------


def test_a_recording_holds_where_the_tracker_looked():
    video, parts = red_square(frames=24), red_parts()
    recording = record(parts, video)
    track = running.run(siamese.make_tracker(*parts), {}, video, video.boxes[0])
    assert recording.frames == 23
    assert not np.any(recording.restarted)
    before = track.boxes[:-1]
    np.testing.assert_allclose(recording.centre, before[:, :2] + before[:, 2:] / 2, atol=1e-3)
    np.testing.assert_allclose(recording.size, before[:, 2:], atol=1e-3)
    np.testing.assert_array_equal(recording.image_size, [[96, 160]] * 23)
    np.testing.assert_array_equal(np.flatnonzero(recording.sync), [0, replay.SYNC_FRAMES])
    assert recording.scores.shape == (23, replay.KEPT)
    assert recording.bytes_per_frame == pytest.approx(22 * replay.KEPT + 8 + 8 + 8 + 16 + 4 + 2)


def test_kept_candidates_hold_what_any_constants_choose():
    found = siamese_candidates("siamrpn_r50")
    windows = jnp.asarray(candidate_windows("anchors", len(found.scores)))
    where = (jnp.asarray([50.0, 40.0]), jnp.asarray([50.0, 40.0]), jnp.float32(1.4))
    kept = replay._kept(found, windows, where[1] * where[2])
    assert len(set(np.asarray(kept["index"]).tolist())) == replay.KEPT
    np.testing.assert_array_equal(kept["scores"], found.scores[kept["index"].astype(jnp.int32)])
    choose = jax.vmap(decide, in_axes=(None, 0, None, None, None, None))
    triples = replay.as_constants(np.random.default_rng(1).uniform((0, 0.05, 0.1), (0.6, 0.65, 0.8), (300, 3)))
    of_all = choose(found, triples, windows, *where)
    few = Candidates(kept["scores"], kept["boxes_cxcywh"])
    of_few = choose(few, triples, windows[kept["index"].astype(jnp.int32)], *where)
    np.testing.assert_array_equal(of_all.centre, of_few.centre)
    np.testing.assert_array_equal(of_all.size, of_few.size)


def siamese_candidates(architecture):
    parts = fixed_parts(architecture)
    frame = images.make_frame(red_square()[0])
    box = jnp.asarray([20.0, 30.0, 50.0, 40.0])
    state = siamese.make_tracker(*parts).init({}, frame, box, jax.random.key(0))
    return siamese.look(parts, {}, state, frame, parts.architecture.search_px)[0]


def test_few_candidates_are_all_kept():
    found = Candidates(jnp.asarray([0.1, 0.9, 0.5]), jnp.ones((3, 4)))
    np.testing.assert_array_equal(replay._kept(found, jnp.zeros(3), jnp.ones(2))["index"], [0, 1, 2])


def test_a_lost_target_is_taken_up_again_at_its_annotation():
    video = red_square(frames=10)
    boxes = video.boxes.copy()
    boxes[4:, :2] = (130, 70)  # where nothing red is: the tracker cannot follow
    boxes[4:, 2:] = (6, 20)
    recording = record(red_parts(), dataclasses.replace(video, boxes=boxes))
    restarted = np.flatnonzero(recording.restarted)
    assert restarted.tolist() == [4, *range(5, 9)][: len(restarted)]
    assert len(restarted) >= 1
    np.testing.assert_allclose(recording.centre[4], (133, 80))
    np.testing.assert_allclose(recording.size[4], (10, 20))  # no side below 10 pixels
    assert recording.sync[4]


def test_only_frames_count_that_show_the_target_where_the_tracker_looks():
    far, hidden = red_square("far", frames=6), red_square("hidden", frames=4)
    boxes, valid = far.boxes.copy(), hidden.valid.copy()
    boxes[3] = (150, 90, 4, 4)  # outside of the crop of about 64 pixels; there the next one is cut in vain
    valid[2] = False
    sequences = [dataclasses.replace(far, boxes=boxes), dataclasses.replace(hidden, valid=valid)]
    weights = np.asarray(record(red_parts(), *sequences).weight)
    np.testing.assert_allclose(weights, [1 / 6, 1 / 6, 0, 0, 1 / 6, 1 / 4, 0, 1 / 4])


def test_a_sequence_that_never_shows_its_target_takes_no_part():
    never = red_square("never", frames=4)
    never = dataclasses.replace(never, valid=np.asarray([True, False, False, False]))
    weights = np.asarray(record(red_parts(), never, red_square(frames=3)).weight)
    np.testing.assert_allclose(weights, [0, 0, 0, 1 / 2, 1 / 2])
    with pytest.raises(UserError, match="no frame after the first shows its target"):
        record(red_parts(), never)


# --- replaying ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["siamrpn_r50", "siamban_r50", "nanotrack_v1", "nanotrack_v3"])
def test_the_constants_of_the_recording_walk_in_their_own_footsteps(architecture):
    """Where the annotation is what the tracker says, replaying its own constants must reach an overlap of 1."""
    parts, video = fixed_parts(architecture), red_square(frames=8)
    box = np.asarray([60.0, 30.0, 30.0, 24.0])
    track = running.run(siamese.make_tracker(*parts), {}, video, box)
    own = Sequence("own", video.frames, track.boxes.astype(np.float64), np.ones(8, bool))
    recording = record(parts, own)
    assert not np.any(recording.restarted)
    config = parts.config
    triple = np.asarray([[config.penalty, config.window_influence, config.smoothing], [0.6, 0.05, 0.8]])
    mine, others = replay.replayed_overlap(parts, recording, triple)
    assert mine == pytest.approx(1, abs=1e-3)
    assert others < 0.99


def test_on_a_network_that_sees_alike_everywhere_the_replay_is_the_true_run(monkeypatch):
    monkeypatch.setattr(replay, "SYNC_FRAMES", 1000)
    parts, video = red_parts(), red_square(frames=12, distractor=True)
    replayed = replay.replayed_overlap(parts, record(parts, video), TRIPLES)
    tracker = replay.variable_tracker(parts)
    for triple, overlap in zip(TRIPLES, replayed, strict=True):
        boxes = running.run(tracker, replay.Variable({}, replay.as_constants(triple)), video, video.boxes[0]).boxes
        true = np.mean([overlap_of(box, truth) for box, truth in zip(boxes[1:], video.boxes[1:], strict=True)])
        assert overlap == pytest.approx(true, abs=0.01)


def test_triples_go_through_in_chunks(monkeypatch):
    parts = red_parts()
    recording, done = record(parts, red_square(distractor=True)), []
    together = replay.replayed_overlap(parts, recording, TRIPLES)
    monkeypatch.setattr(replay, "_TRIPLES_AT_ONCE", 3)
    np.testing.assert_allclose(replay.replayed_overlap(parts, recording, TRIPLES, done.append), together, atol=1e-6)
    assert done == [3, 6, 7]


# The oracle: one triple, one frame, one candidate at a time, in float64.


def overlap_of(a, b):
    width = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    height = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def context(w, h):
    return math.sqrt((w + (w + h) / 2) * (h + (w + h) / 2))


def change(ratio):
    return max(ratio, 1 / ratio)


def hann(position, side):
    return 0.5 - 0.5 * math.cos(2 * math.pi * position / (side - 1))


def replay_one(recording, triple, stride, side):
    """The mean overlap, and how often no candidate lay in the crop."""
    penalty_k, influence, smoothing = triple
    rows = {f.name: np.asarray(getattr(recording, f.name), np.float64) for f in dataclasses.fields(recording)}
    total, blind = 0.0, 0
    for f in range(len(rows["weight"])):
        if rows["sync"][f]:
            (cx, cy), (w, h) = rows["centre"][f], rows["size"][f]
        scale, recorded = 127 / context(w, h), 127 / context(*rows["size"][f])
        best = None
        for score, box, index in zip(rows["scores"][f], rows["boxes_cxcywh"][f], rows["index"][f], strict=True):
            row, column = divmod(int(index) % (side * side), side)
            # Candidate and cell in pixels of the image, then as seen from the triple's own crop.
            place = [rows["centre"][f][k] + stride * ((column, row)[k] - side // 2) / recorded for k in (0, 1)]
            steps = [(place[0] - cx) * scale / stride + side // 2, (place[1] - cy) * scale / stride + side // 2]
            if min(steps) < -0.01 or max(steps) > side - 1 + 0.01:
                continue
            bw, bh = box[2] / recorded, box[3] / recorded
            growth = change(context(bw, bh) / context(w, h)) * change((w / h) / (bw / bh))
            penalty = math.exp(-(growth - 1) * penalty_k)
            rank = penalty * score * (1 - influence) + hann(steps[0], side) * hann(steps[1], side) * influence
            if best is None or rank > best[0]:
                x, y = (rows["centre"][f][k] + box[k] / recorded for k in (0, 1))
                best = (rank, x, y, bw, bh, penalty * score * smoothing)
        if best is None:
            blind += 1
        else:
            _, cx, cy, bw, bh, rate = best
            w, h = w * (1 - rate) + bw * rate, h * (1 - rate) + bh * rate
            height, width = rows["image_size"][f]
            cx, cy = min(max(cx, 0), width), min(max(cy, 0), height)
            w, h = min(max(w, 10), width), min(max(h, 10), height)
        total += rows["weight"][f] * overlap_of((cx - w / 2, cy - h / 2, w, h), rows["truth"][f])
    return total, blind


def random_recording(random, frames=40, kept=12, anchors=5):
    """Frames of a reference that jumps about, so that candidates fall outside crops and boxes outside the image."""
    centre = np.asarray([80.0, 60.0]) + np.cumsum(random.normal(0, 25, (frames, 2)), axis=0)
    size = random.uniform(15, 60, (frames, 2))
    truth = np.concatenate([centre - size / 2, size], axis=1)
    wh = 63 * np.exp(0.4 * random.normal(size=(frames, kept, 2)))
    boxes = np.concatenate([random.uniform(-90, 90, (frames, kept, 2)), wh], axis=-1)
    sync = random.random(frames) < 0.15
    sync[0] = True
    arrays = {
        "scores": random.random((frames, kept)),
        "boxes_cxcywh": boxes,
        "index": random.integers(0, 25 * 25 * anchors, (frames, kept)).astype(np.uint16),
        "centre": centre,
        "size": size,
        "image_size": np.tile([[120, 160]], (frames, 1)).astype(np.int32),
        "truth": truth,
        "weight": random.dirichlet(np.ones(frames)),
        "sync": sync,
        "restarted": np.zeros(frames, bool),
    }
    floats = {name: a.astype(np.float32) if a.dtype == np.float64 else a for name, a in arrays.items()}
    return replay.Recording(**{name: jnp.asarray(a) for name, a in floats.items()})


@pytest.mark.parametrize("seed", [0, 1])
def test_replayed_overlaps_are_those_of_a_plain_loop(seed):
    recording = random_recording(np.random.default_rng(seed))
    expected, blind = zip(*(replay_one(recording, triple, 8, 25) for triple in TRIPLES), strict=True)
    ours = replay.replayed_overlap(fixed_parts("siamrpn_r50"), recording, TRIPLES)
    np.testing.assert_allclose(ours, expected, atol=1e-4)
    assert len(set(np.round(ours, 3))) > 3  # the triples differ
    assert sum(blind) > 0  # and some lost sight of everything
