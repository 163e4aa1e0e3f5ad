"""TADT's pictures: the mean over the channels before and after the selection (Fig. 4), targets by t-SNE (Fig. 2).

    python benchmarks/tadt_pictures.py --output docs/images
    python benchmarks/tadt_pictures.py --data-dir DATA --output pictures
    python benchmarks/tadt_pictures.py --data-dir DATA --output docs/images --tsne

The first line takes rendered videos, the others real ones. The last one needs scikit-learn, which jaxtrack does not
install: `pip install scikit-learn`. It lays 20 frames of each video side by side, by the second map around the
annotated box: all its channels, and those that the first frame of the frame's own video chooses.
"""

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import tyro
from matplotlib import pyplot as plt

from jaxtrack import images, trackers
from jaxtrack.compilation import Program
from jaxtrack.data import benchmarks
from jaxtrack.data.sequences import Sequence
from jaxtrack.models import tadt as models
from jaxtrack.online import template_search
from jaxtrack.trackers import tadt

matplotlib.use("agg")
REAL = ("David", "Couple", "Deer", "Crossing")
RENDERED = ("procedural-bc", "procedural-sv", "procedural-occ", "procedural-ipr")
_CELLS_SEEN = 7  # of a target, for t-SNE


@dataclasses.dataclass(frozen=True)
class Options:
    """Draw the pictures."""

    data_dir: Path | None = None
    """The data of OTB100; without it videos are rendered."""
    output: Path = Path("docs/images")
    """The folder of the pictures."""
    tracker: str = "tadt_nano"
    """Which of TADT's configurations."""
    sequences: tuple[str, ...] = ()
    """Which videos; by default four."""
    frames: int = 20
    """Of each video, for t-SNE."""
    tsne: bool = False
    """Draw the second picture instead of the first."""


def videos_of(options: Options) -> Collection[Sequence]:
    """The videos that are looked at."""
    if options.data_dir is None:
        return benchmarks.load("procedural", None, options.sequences or RENDERED).sequences
    return benchmarks.load("otb100", options.data_dir, options.sequences or REAL).sequences


class Eyes:
    """What a configuration sees of a frame around a box, and what it chooses of that in the first frame."""

    def __init__(self, name: str):
        """Loads the weights."""
        self.config = tadt.CONFIGS[name]
        self.architecture = models.ARCHITECTURES[self.config.architecture]
        method = trackers.build(name, self.config)
        assert isinstance(method, trackers.JaxMethod)
        self.params, self._begin = method.params(), Program(method.tracker.init)
        self._look = Program(self._maps)

    def _maps(self, params: Any, frame: images.Frame, box: jax.Array) -> Any:
        zoom = template_search.rescale(self.config.search, box[2:])
        side = self.config.search.window_px / zoom
        x = models.image(self.architecture, frame, box[:2] + box[2:] / 2, side)
        return x, models.maps(self.architecture, params, x)

    def look(self, sequence: Sequence, index: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """The image `[S, S, 3]` and the two maps `[n, n, C]`."""
        frame = images.make_frame(sequence[index])
        x, (first, second) = self._look(self.params, frame, jnp.asarray(sequence.boxes[index], jnp.float32))
        return np.asarray(x[0]), (np.asarray(first), np.asarray(second))

    def choose(self, sequence: Sequence) -> tuple[np.ndarray, np.ndarray]:
        """The indices of the chosen channels of both maps."""
        frame, box = images.make_frame(sequence[0]), jnp.asarray(sequence.boxes[0], jnp.float32)
        chosen = self._begin(self.params, frame, box, jax.random.key(0)).chosen
        first, second = (np.asarray(group.index)[np.asarray(group.weight) > 0] for group in chosen)
        return first, second


def shown(architecture: models.Architecture, x: np.ndarray) -> np.ndarray:
    """A network's image as it was, RGB in 0..1."""
    rgb = (x[..., ::-1] if architecture.bgr else x) + np.asarray(architecture.mean)
    return np.clip(rgb / 255, 0, 1)


def draw_means(options: Options) -> Path:
    """The first picture: a row for each video; the image, both maps' means of all channels and of the chosen ones."""
    eyes = Eyes(options.tracker)
    videos = videos_of(options)
    names = eyes.architecture.names
    titles = ("first frame", *(f"{name}, {what}" for name in names for what in ("all channels", "chosen")))
    figure, axes = plt.subplots(len(videos), 5, figsize=(10, 2.1 * len(videos)), squeeze=False)
    for number, (row, sequence) in enumerate(zip(axes, videos, strict=True)):
        x, maps = eyes.look(sequence, 0)
        pictures = [shown(eyes.architecture, x)]
        for of, index in zip(maps, eyes.choose(sequence), strict=True):
            pictures += [of.mean(axis=2), of[..., index].mean(axis=2)]
        for axis, picture, title in zip(row, pictures, titles, strict=True):
            axis.imshow(picture, cmap="magma")
            axis.set_axis_off()
            if number == 0:
                axis.set_title(title, fontsize=8)
    return _save(figure, options.output / f"{options.tracker}_channels.png")


def draw_tsne(options: Options) -> Path:
    """The second picture: a dot for each frame, all channels on the left, chosen ones on the right."""
    try:
        from sklearn.manifold import TSNE  # type: ignore[import-not-found]
    except ModuleNotFoundError:
        raise SystemExit("t-SNE needs scikit-learn: pip install scikit-learn") from None
    eyes = Eyes(options.tracker)
    videos = videos_of(options)
    everything, chosen, owners = [], [], []
    for number, sequence in enumerate(videos):
        index = eyes.choose(sequence)[1]
        mask = np.zeros(eyes.look(sequence, 0)[1][1].shape[2], bool)
        mask[index] = True
        for frame in np.linspace(0, len(sequence) - 1, options.frames).astype(int).tolist():
            seen = _around_the_middle(eyes.look(sequence, frame)[1][1])
            everything.append(seen.ravel())
            chosen.append((seen * mask[None, None]).ravel())
            owners.append(number)
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2))
    for axis, features, title in zip(axes, (everything, chosen), ("all channels", "chosen channels"), strict=True):
        perplexity = min(30, len(features) / 4)
        places = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(np.stack(features))
        for number, sequence in enumerate(videos):
            own = places[np.asarray(owners) == number]
            axis.scatter(own[:, 0], own[:, 1], s=12, label=sequence.name)
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    axes[1].legend(fontsize=7)
    return _save(figure, options.output / f"{options.tracker}_tsne.png")


def _around_the_middle(maps: np.ndarray) -> np.ndarray:
    middle, reach = maps.shape[0] // 2, _CELLS_SEEN // 2
    return maps[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]


def _save(figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    return path


def main(options: Options) -> None:
    """Draws one of the pictures."""
    print(draw_tsne(options) if options.tsne else draw_means(options))


if __name__ == "__main__":
    main(tyro.cli(Options))
