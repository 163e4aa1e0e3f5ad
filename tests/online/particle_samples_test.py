import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.models import cue_cnn
from jaxtrack.online import particle_samples
from jaxtrack.online.itsgd import Loss


def quality_by_loop(scores, outputs, overlap, v=0.75):
    best = max(scores)
    rivals = [n for n, s in enumerate(scores) if s > v * best]
    total = 0.0
    for n in rivals:
        label = (1, 0) if overlap[n] > 0.5 else (0, 1)
        squared = sum((f - target) ** 2 for f, target in zip(outputs[n], label, strict=True))
        if squared > 0.0025 / (1 + 3 * label[0]):
            total += abs(math.tanh((overlap[n] - 0.5) / 2)) * squared
    return 1 - total / len(rivals), len(rivals)


def test_label_quality_agrees_with_a_plain_loop():
    rng = np.random.default_rng(3)
    outputs = rng.uniform(-0.2, 1.2, (300, 2)).astype(np.float32)
    overlap = rng.uniform(0, 1, 300).astype(np.float32)
    scores = np.asarray(cue_cnn.score(jnp.asarray(outputs)))
    expected, count = quality_by_loop(scores.tolist(), outputs.tolist(), overlap.tolist())
    given = (jnp.asarray(scores), jnp.asarray(outputs), jnp.asarray(overlap))
    q, rivals = particle_samples.quality(*given, v=0.75, loss=Loss())
    assert float(q) == pytest.approx(expected, abs=1e-5)
    assert float(rivals) == count


def test_where_no_particle_scores_above_zero_the_best_twentieth_are_the_rivals():
    scores = -jnp.arange(1.0, 101.0)
    outputs = jnp.zeros((100, 2))
    _, rivals = particle_samples.quality(scores, outputs, jnp.zeros((100,)), v=0.75, loss=Loss())
    assert float(rivals) == 5


def test_negatives_are_particles_first_and_surroundings_where_those_run_out():
    overlap = jnp.concatenate([jnp.full((20,), 0.4), jnp.full((30,), 0.9), jnp.full((30,), 0.2), jnp.full((30,), 0.6)])
    chosen = np.asarray(particle_samples.negatives(jax.random.key(0), overlap, drawn=50, count=30, hard=0))
    assert len(chosen) == 30
    assert len(set(chosen.tolist())) == 30
    assert set(range(20)) <= set(chosen.tolist())  # all particles that overlap little
    assert set(chosen.tolist()) <= set(range(20)) | set(range(50, 80))  # and surroundings, but no near ones


def test_the_particles_that_score_highest_are_among_the_negatives():
    overlap = jnp.concatenate([jnp.full((40,), 0.1), jnp.full((10,), 0.9), jnp.full((30,), 0.2)])
    scores = jnp.arange(50.0)  # the ten best overlap the target
    chosen = particle_samples.negatives(jax.random.key(0), overlap, scores, drawn=50, count=30, hard=6)
    chosen = np.asarray(chosen).tolist()
    assert len(set(chosen)) == 30
    assert set(range(34, 40)) <= set(chosen)
    assert not set(range(40, 50)) & set(chosen)


def test_positives_are_drawn_from_those_that_overlap_most_of_the_target():
    overlap = jnp.asarray([0.4, 0.9, 0.5, 0.6, 0.2, 0.7])
    drawn = {
        frozenset(np.asarray(particle_samples.positives(jax.random.key(k), overlap, 2)).tolist()) for k in range(30)
    }
    assert drawn == {frozenset(pair) for pair in ((1, 3), (1, 5), (3, 5))}


def test_where_too_few_overlap_that_much_the_nearest_stand_in():
    overlap = jnp.asarray([0.4, 0.9, 0.45, 0.1, 0.2])
    chosen = particle_samples.positives(jax.random.key(0), overlap, 3)
    assert np.asarray(chosen).tolist() == [1, 2, 0]
