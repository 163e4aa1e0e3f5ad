"""What a step draws; that it trains is tested with the loop."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.data.procedural_pairs import Pair
from jaxtrack.losses.classification import random_subset
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.training import siamese
from jaxtrack.training.labels import AnchorLabels
from jaxtrack.training.objective import Objective


def test_negatives_pooled_over_a_batch_come_from_all_its_images():
    keys = jax.vmap(lambda number: jax.random.fold_in(jax.random.key(3), number))(jnp.arange(4))
    box = jnp.tile(jnp.asarray([[97.0, 100.0, 157.0, 164.0]]), (4, 1))
    nothing = jnp.zeros((4, 1, 1, 3))
    pairs = Pair(template=nothing, search=nothing, box_xyxy=box, negative=jnp.zeros(4, bool))
    recipe = siamese.Recipe(ARCHITECTURES["siamrpn_r50"], lambda items: items, AnchorLabels(), Objective())
    labels = siamese.label_batch(recipe, keys, pairs).label
    # As the step's own: the labels of the first image are drawn from the same key.
    batch_key = jax.random.fold_in(keys[0], siamese._BATCH)
    drawn = random_subset(batch_key, (labels == 0).ravel(), 48).reshape(labels.shape)
    counts = np.asarray(jnp.sum(drawn, axis=1))
    assert counts.sum() == 48
    # 12 each on average, with a deviation of 3.
    assert counts.min() > 0
    assert counts.max() < 27
