"""An endless source of training pairs for Siamese trackers, rendered on the device, each from a key.

`render_pair` and `render_batch` draw template and search images with the geometry of training from disk; `PairConfig`
says how hard they are, `load_textures` reads photographs for their surfaces, `pair_key` numbers them.
"""

from jaxtrack.data.procedural_pairs.config import PairConfig
from jaxtrack.data.procedural_pairs.library import load_textures
from jaxtrack.data.procedural_pairs.pairs import Pair, pair_key, render_batch, render_pair

__all__ = ["Pair", "PairConfig", "load_textures", "pair_key", "render_batch", "render_pair"]
