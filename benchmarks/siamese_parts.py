"""Where a Siamese tracker's frame goes: milliseconds, GFLOP and share of the machine's matrix peak of each part.

    python benchmarks/siamese_parts.py --tracker siamrpn,siamban,siampw_rbo,nanotrack_v2
    python benchmarks/siamese_parts.py --torch

Weights do not matter for speed, so the networks are drawn at random: nothing has to be imported. Parts are programs of
their own, timed one after the other in turns, so that what disturbs the machine disturbs all of them; "step" is the
tracker's whole program, whose parts are fused. The peak is that of a large float32 matrix product in the same process.
`--torch` times the same search network of SiamRPN++ in PyTorch (as many threads as cores, inference mode, denormals
flushed), both memory layouts, without crop and decision: in a process of its own, as two libraries' threads would
disturb each other.
"""

import dataclasses
import functools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxtrack import images
from jaxtrack.compilation import Program
from jaxtrack.models import siamese as models
from jaxtrack.models import siamese_crops
from jaxtrack.trackers import siamese


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time."""

    tracker: str = "siamrpn,siamban,siampw_rbo,nanotrack_v2"
    """Trackers, separated by commas."""
    rounds: int = 15
    """How often each part is timed; the median counts."""
    torch: bool = False
    """Time PyTorch instead."""


def matrix_peak() -> float:
    """GFLOP/s of a large float32 matrix product."""
    a = jnp.ones((2048, 2048), jnp.float32)
    product = Program(lambda a, b: a @ b)
    best = min(timed(lambda: product(a, a)) for _ in range(8))
    return 2 * 2048**3 / best / 1e9


def timed(call: Callable[[], Any]) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def random_params(architecture: models.Architecture) -> Any:
    """Parameters of the right shapes, ready for tracking: normal, with He's variance."""
    rng = np.random.default_rng(0)

    def draw(leaf: Any) -> np.ndarray:
        scale = (2 / max(np.prod(leaf.shape[:-1]), 1)) ** 0.5
        return (scale * rng.standard_normal(leaf.shape)).astype(np.float32)

    variables = jax.tree.map(draw, models.shapes(architecture))
    variables["batch_stats"] = jax.tree.map(np.ones_like, variables.get("batch_stats", {}))
    return models.for_inference(architecture, variables)


def programs(name: str) -> dict[str, tuple[Program, tuple]]:
    """The parts of a tracker's frame and their arguments."""
    config = siamese.CONFIGS[name]
    architecture = models.ARCHITECTURES[config.architecture]
    network, params = models.build(architecture), random_params(architecture)
    parts = siamese.Parts(config, architecture, siamese.network_of(architecture))
    frame = images.make_frame(np.random.default_rng(1).integers(0, 256, (360, 640, 3), np.uint8))
    frame = jax.tree.map(jnp.asarray, frame)
    tracker = siamese.make_tracker(*parts)
    state = Program(tracker.init)(params, frame, jnp.asarray([300.0, 150.0, 60.0, 80.0]), jax.random.key(0))
    side = jnp.float32(240)

    def crop(frame: images.Frame, state: siamese.State) -> jax.Array:
        return siamese_crops.crop_square(frame, state.centre, side, architecture.search_px, state.fill)

    def backbone(params: Any, x: jax.Array) -> Any:
        return network.apply(params, x, method=lambda module, x: module.backbone(x))

    def neck(params: Any, maps: Any) -> Any:
        return network.apply(params, maps, method=lambda module, maps: module.neck(maps))  # type: ignore[misc]

    def head(params: Any, kept: Any, maps: Any) -> Any:
        return network.apply(params, kept, maps, method=lambda module, kept, maps: module.head.search(kept, maps))

    def decision(state: siamese.State, cls: jax.Array, loc: jax.Array) -> Any:
        found = siamese.candidates(architecture.kind, architecture.stride_px, cls[0], loc[0])
        constants = siamese.Constants(*(jnp.float32(c) for c in (0.05, 0.4, 0.4)))
        windows = jnp.asarray(siamese.candidate_windows(architecture.kind, len(found.scores)))
        return siamese.decide(found, constants, windows, state.centre, state.size, jnp.float32(0.5))

    image = Program(crop)(frame, state)
    maps = Program(backbone)(params, image)
    has_neck = architecture.neck is not None
    adjusted = Program(neck)(params, maps) if has_neck else maps
    outputs = Program(head)(params, state.kept, adjusted)
    return {
        "crop": (Program(crop), (frame, state)),
        "backbone": (Program(backbone), (params, image)),
        **({"neck": (Program(neck), (params, maps))} if has_neck else {}),
        "correlation, head": (Program(head), (params, state.kept, adjusted)),
        "decision": (Program(decision), (state, *outputs)),
        "step": (Program(tracker.step), (params, state, frame)),
    }


def measure(parts: dict[str, tuple[Program, tuple]], rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds and GFLOP (as XLA counts the compiled program's) of each part of a tracker's frame."""
    # The step donates its state: every call gets a copy, made beforehand.
    params, state, frame = parts["step"][1]
    copies = iter([jax.tree.map(jnp.copy, state) for _ in range(rounds + 1)])
    calls: dict[str, Callable[[], Any]] = {
        key: functools.partial(program, *given) for key, (program, given) in parts.items()
    }
    calls["step"] = lambda: parts["step"][0](params, next(copies), frame)
    for call in calls.values():
        timed(call)
    seconds = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            seconds[key].append(timed(call))
    flops = {key: program.compiled(*given).cost_analysis().get("flops", 0.0) for key, (program, given) in parts.items()}
    return {key: (statistics.median(values), flops[key] / 1e9) for key, values in seconds.items()}


def time_torch(rounds: int) -> None:
    """Prints the milliseconds of SiamRPN++'s search network in PyTorch, the better of two layouts."""
    from torch_siamrpn import SearchNetwork

    time_torch_network(SearchNetwork(), 255, rounds)


def time_torch_network(network: Any, side: int, rounds: int) -> None:
    """Prints the milliseconds of a network in PyTorch on an image of a side, in both layouts."""
    import torch  # type: ignore[import-not-found]

    torch.set_num_threads(os.cpu_count() or 1)
    torch.set_flush_denormal(True)
    network = network.eval()
    with torch.inference_mode():
        for layout in (torch.contiguous_format, torch.channels_last):
            network = network.to(memory_format=layout)  # type: ignore[call-overload]
            x = torch.rand(1, 3, side, side).mul(255).contiguous(memory_format=layout)
            network(x)
            seconds = []
            for _ in range(rounds):
                start = time.perf_counter()
                network(x)
                seconds.append(time.perf_counter() - start)
            print(f"PyTorch {torch.__version__}, {layout}: {1e3 * statistics.median(seconds):.1f} ms")


def main(options: Options) -> None:
    """Prints the tables."""
    if options.torch:
        time_torch(options.rounds)
        return
    show(options.tracker.split(","), programs, options.rounds)


def show(names: Sequence[str], programs: Callable[[str], dict[str, tuple[Program, tuple]]], rounds: int) -> None:
    """Prints the table of trackers, whose parts `programs` gives."""
    peak = matrix_peak()
    print(f"peak: {peak:.0f} GFLOP/s\n\n| tracker | part | ms | GFLOP | share of the peak |\n|---|---|---|---|---|")
    for name in names:
        for part, (seconds, gflop) in measure(programs(name), rounds).items():
            print(f"| {name} | {part} | {1e3 * seconds:.1f} | {gflop:.1f} | {gflop / seconds / peak:.0%} |")


if __name__ == "__main__":
    main(tyro.cli(Options))
