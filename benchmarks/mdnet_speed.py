"""Where a frame of MDNet goes, beside the same steps in PyTorch; what an update costs when it is not due; memory.

    python benchmarks/mdnet_speed.py
    python benchmarks/mdnet_speed.py --no-torch
    python benchmarks/mdnet_speed.py --no-parts

Weights do not matter for speed: they are random. PyTorch runs in a process of its own, with as many threads as cores
and denormals flushed, in inference mode where nothing is learnt, and each part is timed there right after its turn
here, while this process waits; of its two memory layouts the better one counts, part by part. Steps that are the same:
256 candidates cut out and resized, conv1 to conv3, their scores, 250 samples cut out and their features, and an update
of ten iterations with hard negatives out of full memories. A frame has all of them, the update once in ten frames.

The peak is that of a large float32 matrix product in the same process.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from siamese_parts import matrix_peak, timed

from jaxtrack import images
from jaxtrack.compilation import Program
from jaxtrack.models import mdnet as models
from jaxtrack.online import frame_memory, mining
from jaxtrack.online.frame_memory import Samples
from jaxtrack.trackers import mdnet, rpn2t

BOX = np.asarray([300.0, 150.0, 60.0, 80.0], np.float32)
IMAGE = (360, 640)
# The published network, whatever the default tracker's is.
MDNET = dataclasses.replace(mdnet.CONFIGS["mdnet"], architecture="mdnet_vggm", weights="random")
LAYOUTS = ("NCHW", "channels last")  # of `torch_mdnet.py`, which is not imported here
_SETTLE_SECONDS = 0.05  # for the other library's threads to go to sleep
_TOGETHER = 64


@dataclasses.dataclass(frozen=True)
class Options:
    """What to time."""

    rounds: int = 7
    """How often each part is timed; the median counts."""
    torch: bool = True
    """Time PyTorch too, if it is installed."""
    parts: bool = True
    """Time the parts of a frame."""
    updates: bool = True
    """Time whole frames with an update and without one, alone and two seeds side by side."""
    network: str = "mdnet_vggm"
    """The network whose updates are timed."""


# --- parts ---------------------------------------------------------------------------------------------------------


def some_boxes(count: int) -> np.ndarray:
    """Boxes around the target, `float32 [count, 4]`."""
    shift = np.random.default_rng(1).normal(0, 20, (count, 4))
    return (BOX + shift * [1, 1, 0.1, 0.1]).astype(np.float32)


def job() -> dict[str, Any]:
    """An image, boxes and sizes of memories, for both libraries."""
    framework = MDNET.framework
    sampling, memory = framework.sampling, framework.memory
    return {
        "pixels": np.random.default_rng(0).integers(0, 256, (*IMAGE, 3), np.uint8),
        "candidates": some_boxes(framework.search.candidates),
        "samples": some_boxes(sampling.positives + sampling.negatives),
        "positives": sampling.first_positives + memory.positive_frames * sampling.positives,
        "negatives": memory.negative_frames * sampling.negatives,
    }


def jax_parts(given: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """The timed calls by their names."""
    architecture = models.ARCHITECTURES[MDNET.architecture]
    params = mdnet.init_params(MDNET, jax.random.key(0))
    model, framework = mdnet.model_of(MDNET, architecture), MDNET.framework
    head = models.vgg_m.with_new_branch(params["head"], jax.random.key(1), location=False)
    frame = jax.tree.map(jnp.asarray, images.make_frame(given["pixels"]))
    candidates, samples = jnp.asarray(given["candidates"]), jnp.asarray(given["samples"])
    pools = [_pool(given[name], params["head"]["fc4"]["kernel"].shape[0]) for name in ("positives", "negatives")]

    def backbone(variables: Any, crops: jax.Array) -> jax.Array:
        together = crops.reshape(-1, _TOGETHER, *crops.shape[1:])
        return jax.lax.map(lambda some: architecture.backbone.apply({"params": variables}, some), together)  # type: ignore[return-value]

    def best(head: Any, rows: Samples) -> Any:
        return jax.lax.top_k(model.score(head, rows), framework.search.best)

    def update(key: jax.Array, head: Any, velocity: Any, positives: Any, negatives: Any) -> Any:
        learning = framework.mining
        same = {"score": model.score, "loss": model.loss, "rate": learning.rate}
        count = jnp.asarray(learning.iterations, jnp.int32)
        return mining.train(key, head, velocity, positives, negatives, count, learning, **same)

    calls = {
        "crops": (functools.partial(models.crops, architecture), (frame, candidates)),
        "features": (backbone, (params["backbone"], models.crops(architecture, frame, candidates))),
        "scores": (best, (head, _rows(len(candidates), pools[0]))),
        "samples": (functools.partial(models.features, architecture), (params["backbone"], frame, samples)),
        "update": (update, (jax.random.key(2), head, jax.tree.map(jnp.zeros_like, head), *pools)),
    }
    return {name: functools.partial(Program(function), *values) for name, (function, values) in calls.items()}


def _pool(count: int, width: int) -> frame_memory.Pool:
    """A full memory of features."""
    features = np.random.default_rng(count).uniform(0, 1, (count, width)).astype(np.float32)
    rows = Samples(jnp.asarray(features), jnp.ones((count,)), jnp.ones((count, 4)))
    return frame_memory.pool_of(rows, jnp.ones((count,), bool))


def _rows(count: int, pool: frame_memory.Pool) -> Samples:
    return frame_memory.take(pool, jnp.arange(count, dtype=jnp.int32))


def gflop(given: dict[str, Any]) -> dict[str, float]:
    """Of each part, two for a product and its sum; crops have none that count."""
    convolutions = ((51, 7 * 7 * 3, 96), (11, 5 * 5 * 96, 256), (3, 3 * 3 * 256, 512))
    crop = 2 * sum(side * side * inputs * outputs for side, inputs, outputs in convolutions) / 1e9
    first, rest = 2 * 4608 * 512 / 1e9, 2 * (512 * 512 + 512 * 2) / 1e9
    learning = MDNET.framework.mining
    batch = learning.positives + learning.negatives
    # Forwards, and back to the weights of each layer and to the inputs of all but the first.
    iteration = learning.candidates * (first + rest) + batch * (2 * first + 3 * rest)
    return {
        "crops": 0.0,
        "features": len(given["candidates"]) * crop,
        "scores": len(given["candidates"]) * (first + rest),
        "samples": len(given["samples"]) * crop,
        "update": learning.iterations * iteration,
    }


@contextlib.contextmanager
def torch_process(given: dict[str, Any], wanted: bool) -> Iterator[Callable[[str, str], float] | None]:
    """A function that has (layout, part) timed in a process with PyTorch; None without PyTorch."""
    if not wanted or importlib.util.find_spec("torch") is None:
        print("PyTorch is not timed" + ("" if not wanted else ": it is not installed"))
        yield None
        return
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # its threads are not to spin while it waits
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, given, os.cpu_count() or 1), daemon=True)
    process.start()
    there.close()  # so that a process that fails ends the wait
    print(f"PyTorch {here.recv()}, {os.cpu_count()} threads")

    def ask(layout: str, part: str) -> float:
        here.send((layout, part))
        return here.recv()

    try:
        yield ask
    finally:
        here.send(None)
        process.join()


def _serve(connection: Any, given: dict[str, Any], threads: int) -> None:
    import torch_mdnet

    torch_mdnet.serve(connection, given, threads)


def alternating(
    calls: dict[str, Callable[[], Any]], ask: Callable[[str, str], float] | None, rounds: int
) -> tuple[dict[str, float], dict[str, tuple[float, str]]]:
    """Median seconds of each part here, and in PyTorch with the layout that is the better one for it."""
    ours: dict[str, list[float]] = {name: [] for name in calls}
    theirs: dict[tuple[str, str], list[float]] = {}
    for round_ in range(rounds + 1):
        for name, call in calls.items():
            time.sleep(_SETTLE_SECONDS)
            seconds = timed(call)
            asked = {(layout, name): ask(layout, name) for layout in LAYOUTS} if ask else {}
            if round_ > 0:  # the first time compiles
                ours[name].append(seconds)
                for key, value in asked.items():
                    theirs.setdefault(key, []).append(value)
    medians = {key: statistics.median(values) for key, values in theirs.items()}
    best = {name: min((medians[layout, name], layout) for layout in LAYOUTS) for name in calls} if medians else {}
    return {name: statistics.median(values) for name, values in ours.items()}, best


def whole_frame(seconds: dict[str, float], interval: int) -> float:
    """Seconds of a frame on average, an update being due once in `interval` frames."""
    return sum(seconds.values()) - seconds["update"] * (1 - 1 / interval)


def print_parts(options: Options) -> None:
    """The table of parts."""
    given, interval = job(), MDNET.framework.memory.interval
    with torch_process(given, options.torch) as ask:
        ours, theirs = alternating(jax_parts(given), ask, options.rounds)
    work, peak = gflop(given), matrix_peak()
    ours["a frame"] = whole_frame(ours, interval)
    work["a frame"] = whole_frame(work, interval)
    if theirs:
        theirs["a frame"] = (whole_frame({name: value for name, (value, _) in theirs.items()}, interval), "")
    print(f"peak: {peak:.0f} GFLOP/s\n\n| part | ms | share of the peak | PyTorch, ms | layout | ratio |")
    print("|---|---|---|---|---|---|")
    for name, seconds in ours.items():
        share = f"{work[name] / seconds / peak:.0%}" if work[name] else "-"
        other, layout = theirs.get(name, (float("nan"), ""))
        print(f"| {name} | {1e3 * seconds:.1f} | {share} | {1e3 * other:.1f} | {layout} | {other / seconds:.1f} |")


# --- updates -------------------------------------------------------------------------------------------------------


def frames_of(config: mdnet.Config, width: int) -> Callable[[int], float]:
    """A function that times a frame of a number, 1 for nothing due, the interval for an update; `width` seeds."""
    method, frame = mdnet.tracker(config), images.make_frame(job()["pixels"])
    params = mdnet.init_params(config, jax.random.key(0))
    init, step = method.init, method.step
    if width > 1:
        init, step = jax.vmap(init, (None, None, None, 0)), jax.vmap(step, (None, 0, None))
    keys = jax.random.split(jax.random.key(0), width) if width > 1 else jax.random.key(0)
    last = [Program(init)(params, frame, BOX, keys)]
    program = Program(step, donate_argnums=(1,))

    def frame_number(number: int) -> float:
        # Scores that say target whatever is seen: an update comes when it is due, and only then.
        head, fc6 = last[0].head, last[0].head["fc6"]
        head = {**head, "fc6": {**fc6, "bias": fc6["bias"].at[..., 1].set(1e6)}}
        state = dataclasses.replace(last[0], head=head, frame=jnp.full_like(last[0].frame, number))
        program.compiled(params, state, frame)
        jax.block_until_ready(state)
        start = time.perf_counter()
        last[0], _ = jax.block_until_ready(program(params, state, frame))
        return time.perf_counter() - start

    return frame_number


def never(config: mdnet.Config) -> mdnet.Config:
    """The same tracker whose program has no update at all."""
    learning = dataclasses.replace(config.framework.mining, iterations=0)
    return dataclasses.replace(config, framework=dataclasses.replace(config.framework, mining=learning))


def half(config: mdnet.Config) -> mdnet.Config:
    """The same tracker with a memory of bfloat16."""
    memory = dataclasses.replace(config.framework.memory, half=True)
    return dataclasses.replace(config, framework=dataclasses.replace(config.framework, memory=memory))


def print_updates(options: Options) -> None:
    """The table of whole frames."""
    config = dataclasses.replace(MDNET, architecture=options.network)
    interval = config.framework.memory.interval
    print(f"\n| {options.network}, whole frames | no update in the program | none due | due |\n|---|---|---|---|")
    kinds = {"one video": (config, 1), "two seeds side by side": (config, 2), "memory of bfloat16": (half(config), 1)}
    for name, (each, width) in kinds.items():
        timers = {"never": (frames_of(never(each), width), 1)}
        timers |= {"not due": (frames_of(each, width), 1)}
        timers |= {"due": (timers["not due"][0], interval)}
        seconds: dict[str, list[float]] = {kind: [] for kind in timers}
        for round_ in range(options.rounds + 1):
            for kind, (call, number) in timers.items():
                spent = call(number)
                seconds[kind] += [spent] if round_ else []
        cells = [f"{1e3 * statistics.median(values):.1f} ms" for values in seconds.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


# --- memory --------------------------------------------------------------------------------------------------------


def state_of(module: Any, config: Any) -> Any:
    """Shapes of the state that a configuration begins with; nothing is computed."""
    config = dataclasses.replace(config, weights="random")
    params = jax.eval_shape(functools.partial(module.init_params, config), jax.random.key(0))
    frame = images.make_frame(np.zeros((*IMAGE, 3), np.uint8))
    return jax.eval_shape(module.tracker(config).init, params, frame, BOX, jax.random.key(0))


def megabytes(tree: Any) -> float:
    """Of arrays, or of their shapes; random keys are not counted."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves) / 1e6


def print_memory() -> None:
    """The table of states."""
    single = dataclasses.replace(rpn2t.CONFIGS["rpn2t"].framework.memory, half=False)
    wide = dataclasses.replace(rpn2t.CONFIGS["rpn2t"].framework, memory=single)
    rows = {
        "mdnet": (mdnet, MDNET),
        "mdnet, bfloat16": (mdnet, half(MDNET)),
        "rankloc": (mdnet, mdnet.CONFIGS["rankloc"]),
        "rpn2t": (rpn2t, rpn2t.CONFIGS["rpn2t"]),
        "rpn2t, float32": (rpn2t, dataclasses.replace(rpn2t.CONFIGS["rpn2t"], framework=wide)),
        "rpn2t_teacher": (rpn2t, rpn2t.CONFIGS["rpn2t_teacher"]),
        "rpn2t_teacher_half": (rpn2t, rpn2t.CONFIGS["rpn2t_teacher_half"]),
    }
    print("\n| tracker | network | state, MB | of it samples |\n|---|---|---|---|")
    for name, (module, config) in rows.items():
        state = state_of(module, config)
        samples = megabytes((state.positives, state.negatives))
        print(f"| {name} | {config.architecture} | {megabytes(state):.0f} | {samples:.0f} |")


def main(options: Options) -> None:
    """Prints the tables."""
    print_memory()
    if options.parts:
        print_parts(options)
    if options.updates:
        print_updates(options)


if __name__ == "__main__":
    main(tyro.cli(Options))
