"""Where TADT's time goes: milliseconds and GFLOP of each part of the first frame and of a later one.

    python benchmarks/tadt_parts.py --tracker tadt_random,tadt_nano
    python benchmarks/tadt_parts.py --torch

Random numbers do for weights, as in `siamese_parts.py`, whose way of timing this is. "match, all channels" is the cost
of matching without the selection. `--torch` times VGG-16 to conv4_3 in PyTorch, both memory layouts, in a process of
its own; beside it stands "network" of `tadt_random`. The paper's 33.7 frames a second are those of a GTX 1080.
"""

import dataclasses
import functools
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from siamese_parts import matrix_peak, time_torch_network, timed

from jaxtrack import images
from jaxtrack.compilation import Program
from jaxtrack.models import correlation
from jaxtrack.models import tadt as models
from jaxtrack.online import channel_regression, channels, scale_ranking, template_search
from jaxtrack.online.channel_regression import central
from jaxtrack.online.channels import Chosen
from jaxtrack.trackers import tadt

Part = tuple[Program, tuple]


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time."""

    tracker: str = "tadt_random,tadt_nano"
    """TADT's configurations, separated by commas."""
    rounds: int = 7
    """How often each part is timed; the median counts."""
    torch: bool = False
    """Time PyTorch instead."""


def drawn(architecture: models.Architecture) -> Any:
    """Random parameters, ready for tracking."""
    return models.for_inference(architecture, models.initial(architecture, jax.random.key(0)))


def match(search: template_search.Search, chosen: Any, state: tadt.State, template: Any, seen: Any) -> Any:
    """What comes after the network in a frame."""
    maps = channels.taken(chosen, seen)
    found = [template_search.responses(one, template, state.sides, state.cells) for one in template_search.scaled(maps)]
    return template_search.best(search, jnp.stack(found), state.cells)


def every(maps: Any) -> tuple[Chosen, Chosen]:
    """All channels of both maps."""
    first, second = (Chosen(jnp.arange(one.shape[2], dtype=jnp.int32), jnp.ones((one.shape[2],))) for one in maps)
    return first, second


def parts(name: str) -> tuple[dict[str, Part], dict[str, Part]]:
    """The programs of the first frame and of a later one, and their arguments."""
    config = tadt.CONFIGS[name]
    architecture = models.ARCHITECTURES[config.architecture]
    params = drawn(architecture)
    tracker = tadt.make_tracker(config, architecture)
    image = np.random.default_rng(1).integers(0, 256, (360, 640, 3), np.uint8)
    frame = jax.tree.map(jnp.asarray, images.make_frame(image))
    box, key = jnp.asarray([300.0, 150.0, 50.0, 60.0]), jax.random.key(0)
    begin = Program(tracker.init)
    state: tadt.State = begin(params, frame, box, key)

    def crop(frame: images.Frame, state: tadt.State) -> jax.Array:
        return models.image(architecture, frame, state.centre, state.side_px / state.rescale)

    network = Program(functools.partial(models.maps, architecture))
    x = Program(crop)(frame, state)
    seen: Any = network(params, x)
    first, second = (jnp.moveaxis(one, 2, 0) for one in seen)
    n = architecture.cells
    problems = [tadt.problem(one, state.sides, state.cells) for one in (first, second)]

    def cut(maps: jax.Array) -> jax.Array:
        return correlation.spectrum(jnp.where(central(n, state.sides)[None], maps, 0.0), n)

    regress = Program(functools.partial(channel_regression.learn, config.regression))
    rank = Program(functools.partial(scale_ranking.scale_importance, config.ranking))
    matching = Program(functools.partial(match, config.search))
    whole = jnp.zeros((first.shape[0] + second.shape[0], *state.template.shape[1:]), jnp.complex64)
    early = {
        "crop": (Program(crop), (frame, state)),
        "network": (network, (params, x)),
        "regression, first map": (regress, (problems[0],)),
        "regression, second map": (regress, (problems[1],)),
        "ranking": (rank, (first, state.cells, problems[0].sides, key)),
        "template": (Program(cut), (channels.taken(state.chosen, seen),)),
        "first frame": (begin, (params, frame, box, key)),
    }
    late = {
        "crop": early["crop"],
        "network": early["network"],
        "match": (matching, (state.chosen, state, state.template, seen)),
        "match, all channels": (matching, (every(seen), state, whole, seen)),
        "frame": (Program(tracker.step), (params, state, frame)),
    }
    return early, late


def measure(programs: dict[str, Part], rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds and GFLOP (as XLA counts those of a loop's body once) of each part, timed in turns."""
    calls: dict[str, Callable[[], Any]] = {
        key: functools.partial(program, *given) for key, (program, given) in programs.items()
    }
    for call in calls.values():
        timed(call)
    seconds = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            seconds[key].append(timed(call))
    flops = {
        key: program.compiled(*given).cost_analysis().get("flops", 0.0) for key, (program, given) in programs.items()
    }
    return {key: (statistics.median(values), flops[key] / 1e9) for key, values in seconds.items()}


def main(options: Options) -> None:
    """Prints the tables."""
    if options.torch:
        from torch_vgg import VGG16

        time_torch_network(VGG16(), 180, options.rounds)
        return
    print(f"peak: {matrix_peak():.0f} GFLOP/s\n\n| tracker | part | ms | GFLOP |\n|---|---|---|---|")
    for name in options.tracker.split(","):
        for title, programs in zip(("first", "later"), parts(name), strict=True):
            for part, (seconds, gflop) in measure(programs, options.rounds).items():
                print(f"| {name}, {title} | {part} | {1e3 * seconds:.1f} | {gflop:.1f} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
