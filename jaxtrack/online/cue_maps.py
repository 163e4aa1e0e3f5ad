"""DeepTrack's image cues on maps of the target's surroundings (Li et al., section III-A).

Grey videos: local contrast at two radii, and the gradient. Colour videos: likeness to the target's hue (in the paper
hue), local contrast (in the paper value), and the gradient.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxtrack import images
from jaxtrack.errors import UserError, check_numbers
from jaxtrack.images import Frame
from jaxtrack.online import particles

RANGE = 10.0  # Every cue is scaled to [0, 10].


@dataclasses.dataclass(frozen=True)
class Cues:
    """Which cues, and how they are made."""

    used: tuple[int, ...] = (0, 1, 2)
    """Which of the three cues are used."""
    hue_likeness: bool = True
    """Colour videos: the first cue is likeness to the target's hue instead of the H channel."""
    hue_fade: float = 20.0
    """Chroma, in grey levels, at which likeness has faded by half; 0 takes grey pixels for red ones."""
    value_contrast: bool = True
    """Colour videos: the second cue is local contrast (of the second radius) instead of the V channel."""
    contrast_radii: tuple[float, float] = (0.1, 0.15)
    """Radii of the two local contrast normalisations, as a share of the target's height."""

    def __post_init__(self) -> None:
        """Refuses what no cues can be made of."""
        check_numbers(self, positive=("contrast_radii",), not_negative=("hue_fade",))
        if not self.used or not set(self.used) <= {0, 1, 2} or len(set(self.used)) < len(self.used):
            raise UserError(f"cues.used must be some of 0, 1 and 2, each once, not {self.used}")


def target_hue(frame: Frame, box: jax.Array) -> jax.Array:
    """The mean direction of the hues inside a box on the colour circle, weighted by chroma; `[]` in [0, 1)."""
    rgb = images.crop_area(frame.pixels, frame.size, box, (particles.CELLS, particles.CELLS))
    chroma = jnp.max(rgb, axis=-1) - jnp.min(rgb, axis=-1)
    angle = 2 * jnp.pi * images.hue_from_rgb(rgb)
    mean = jnp.arctan2(jnp.sum(chroma * jnp.sin(angle)), jnp.sum(chroma * jnp.cos(angle)))
    return (mean / (2 * jnp.pi)) % 1.0


def hue_cue(cues: Cues, rgb: jax.Array, hue: jax.Array) -> jax.Array:
    """The first cue of colour videos in [0, 1]; `[H, W, 3]` to `[H, W]`.

    Hue is a circle: red, skin above all, jumps between both ends of the range of the H channel. Likeness to the
    target's hue, the cosine of the angle between them, does not. And where there is hardly any colour, hue is noise;
    likeness fades to 0 there.
    """
    own = images.hue_from_rgb(rgb)
    if not cues.hue_likeness:
        return own
    likeness = 0.5 + 0.5 * jnp.cos(2 * jnp.pi * (own - hue))
    if not cues.hue_fade:
        return likeness
    chroma = jnp.max(rgb, axis=-1) - jnp.min(rgb, axis=-1)
    return likeness * chroma / (chroma + cues.hue_fade)


def raw(
    cues: Cues,
    sampling: particles.Sampling,
    frame: Frame,
    centre: jax.Array,
    size: jax.Array,
    grey: jax.Array,
    hue: jax.Array,
) -> jax.Array:
    """All three cues around the target at every size, the gradient not yet scaled.

    Args:
      cues: how cues are made.
      sampling: says what the maps cover, at which sizes.
      frame: the frame.
      centre: `float32 [2]`, the target's centre (x, y), pixels.
      size: `float32 [2]`, its (width, height), pixels.
      grey: `bool []`, whether to make a grey video's cues.
      hue: `float32 []`, the target's hue, in [0, 1).

    Returns:
      `float32 [L, H, W, 3]`.
    """
    # Blur radii are shares of the target's height; a column of the map is wider or narrower than a row.
    per_row = particles.CELLS / sampling.context
    per_column = per_row * size[1] / size[0]

    def one_level(factor: jax.Array) -> jax.Array:
        box = particles.map_box(sampling, centre, size, factor)
        rgb = images.crop_area(frame.pixels, frame.size, box, sampling.map_size)
        luma = images.grey_from_rgb(rgb)
        contrasts = [
            (jnp.clip(images.local_contrast(luma, jnp.float32(r * per_row), r * per_column), -3, 3) + 3) / 6
            for r in cues.contrast_radii
        ]
        value = contrasts[1] if cues.value_contrast else images.value_from_rgb(rgb)
        colour = [hue_cue(cues, rgb, hue), value]
        pair = jnp.where(grey, jnp.stack(contrasts, -1), jnp.stack(colour, -1))
        return jnp.concatenate([RANGE * pair, images.gradient_magnitude(luma)[..., None]], axis=-1)

    return jax.lax.map(one_level, jnp.asarray(sampling.factors()))


def scaled(cues: Cues, maps: jax.Array, gradient_scale: jax.Array) -> jax.Array:
    """The used cues of `raw` maps, the gradient scaled to [0, 10] by the first frame's constant; `[L, H, W, K]`."""
    gradient = RANGE * jnp.clip(maps[..., 2:] / gradient_scale, 0, 1)
    return jnp.concatenate([maps[..., :2], gradient], axis=-1)[..., list(cues.used)]
