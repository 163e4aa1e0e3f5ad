"""What the ranking losses change: every arm of the ablation goes on from one warm start with the same pairs.

    export JAX_NUM_CPU_DEVICES=2  # one for each core
    python benchmarks/rbo_ablation.py --hours
    python benchmarks/rbo_ablation.py --out ablation --data-dir DATA
    python benchmarks/rbo_ablation.py --study nanotrack_v1 --out ablation --data-dir DATA
    python benchmarks/rbo_ablation.py --study transt_nano --arms ce cr_igr --out ablation --data-dir DATA

The warm start of `siamban_pico` is trained with cross entropy and the IoU loss alone, that of `transt_nano` with its
own losses; that of `nanotrack_v1` is its published weights, of which the backbone stays as it is. Seed by seed, pairs
are then rendered into the folder (12.5 GB, which go when all arms have seen them), and each arm sees the same ones in
the same order. What is finished is not done again: killed at any moment, the same command goes on.
`rbo_tables.py` prints what was found.
"""

import dataclasses
import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any, Literal

import training_speed
import tyro
from stored_pairs import Stored, store
from targets import APART, CHOICE

from jaxtrack import files
from jaxtrack.commands.train import write_weights
from jaxtrack.data import benchmarks
from jaxtrack.evaluation import comparison
from jaxtrack.evaluation.runner import Entry, evaluate
from jaxtrack.trackers import siamese, transt
from jaxtrack.training import identity, loop, presets
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.objective import Objective
from jaxtrack.training.optimiser import FROM_NOTHING, Optimiser
from jaxtrack.training.sources import Procedural

ARMS: dict[str, Objective] = {
    "ce": presets.BASELINE,
    "two_stage": Objective(hard_cls=1.0),
    "cr": presets.CR,
    "igr": Objective(iou_ranking=0.25),
    "cr_igr": presets.CR_IGR,
    "cr_igr_ori": presets.CR_IGR_ORI,
}
BATCH, EPOCH = 32, 100  # pairs in a step, steps in an epoch
WARM_STEPS = 2000
VALIDATION_PAIRS = 2048


@dataclasses.dataclass(frozen=True)
class Network:
    """What is trained and tracks in a study.

    Attributes:
      base: the training that arms change.
      tracker: name of the tracker.
      config: its configuration, but for the weights.
      warm_rate: the rate of the warm start that is trained; 0 where published weights are the start.
      rate: the highest rate of the arms.
    """

    base: TrainConfig
    tracker: str
    config: Any
    warm_rate: float
    rate: float

    def optimiser(self, *, warm: bool) -> Optimiser:
        """The warm start ends with the rate that the arms begin with."""
        if warm:
            return dataclasses.replace(self.base.optimiser, rate=self.warm_rate, last_rate=self.rate)
        return dataclasses.replace(self.base.optimiser, rate=self.rate, warmup_rate=3e-5)

    def objective(self, arm: str) -> Objective:
        """What an arm learns by."""
        return presets.transt_objective(ARMS[arm]) if self.tracker == "transt_nano" else ARMS[arm]


def _network(base: TrainConfig, architecture: str, tracker: str, **fields: Any) -> Network:
    config = {**siamese.CONFIGS, **transt.CONFIGS}[tracker]
    made = dataclasses.replace(base, architecture=architecture, batch=BATCH, steps_per_epoch=EPOCH, validation_pairs=0)
    return Network(made, tracker, dataclasses.replace(config, architecture=architecture, tuned_on=""), **fields)


_NANO = presets.nano("warm", presets.BASELINE)
_STILL = dataclasses.replace(_NANO, optimiser=dataclasses.replace(FROM_NOTHING, trained_backbone=()))
_TRANST = presets.transt_nano("warm", presets.BASELINE)
NETWORKS = {
    "siamban_pico": _network(_NANO, "siamban_pico", "siamban", warm_rate=1e-3, rate=3e-4),
    "nanotrack_v1": _network(_STILL, "nanotrack_v1", "nanotrack_v1", warm_rate=0.0, rate=1e-4),
    "transt_nano": _network(_TRANST, "transt_nano", "transt_nano", warm_rate=5e-4, rate=1.5e-4),
}
Study = Literal["siamban_pico", "nanotrack_v1", "transt_nano"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Train and measure the arms of the ablation."""

    study: Study = "siamban_pico"
    """The network, and with it the warm start."""
    out: Path = Path("ablation")
    """Where everything goes, in a folder of the study's name."""
    data_dir: Path | None = None
    """The data of OTB100, for the 13 real targets; without it only rendered ones are measured."""
    arms: tuple[str, ...] = tuple(ARMS)
    """Which arms."""
    seeds: int = 3
    """How many seeds each."""
    pairs: int = 51_200
    """Pairs that an arm is trained on, after the warm start; a multiple of 3,200."""
    hours: bool = False
    """Only time a step and print how long all of it takes."""

    def __post_init__(self) -> None:
        """Refuses budgets that are no whole epochs, and arms that there are not."""
        unknown = sorted(set(self.arms) - set(ARMS))
        if unknown or self.pairs % (BATCH * EPOCH) or self.pairs <= 0:
            raise SystemExit(f"arms are {', '.join(ARMS)}; pairs must be a multiple of {BATCH * EPOCH}")

    @property
    def folder(self) -> Path:
        """Where the study lies."""
        return self.out / self.study

    @property
    def network(self) -> Network:
        """What the study is of."""
        return NETWORKS[self.study]

    def pairs_folder(self, seed: int) -> Path:
        """Where a seed's pairs lie while they are needed."""
        return self.folder / f"pairs_{seed}"


def warm_config(network: Network) -> TrainConfig:
    """The warm start that is trained."""
    optimiser, epochs = network.optimiser(warm=True), WARM_STEPS // EPOCH
    return dataclasses.replace(network.base, objective=network.objective("ce"), optimiser=optimiser, epochs=epochs)


def first_pair(seed: int) -> int:
    """The number of a seed's first pair; no other seed and no warm start has seen it or those that follow."""
    return (seed + 1) << 24


def arm_config(options: Options, arm: str, seed: int, start: str) -> TrainConfig:
    """An arm under a seed."""
    return dataclasses.replace(
        options.network.base,
        name=f"{arm}_{seed}",
        source=Stored(options.pairs_folder(seed), first_pair(seed)),
        objective=options.network.objective(arm),
        optimiser=options.network.optimiser(warm=False),
        epochs=options.pairs // BATCH // EPOCH,
        seed=seed,
        start=start,
    )


def warm_start(options: Options) -> str:
    """What the arms start from: trained if it is not there yet."""
    return str(trained(options, warm_config(options.network))) if options.network.warm_rate else options.study


def trained(options: Options, config: TrainConfig) -> Path:
    """The weights of a training, which goes on where it is; its checkpoints stay."""
    folder = options.folder / config.name
    path = folder / f"{config.name}.safetensors"
    if path.is_file():
        identity.check(folder, config, {})
    else:
        state = loop.train(config, folder, report=lambda record: _print(config, record))
        path = write_weights(config, folder, state, config.name)
    return path


def _print(config: TrainConfig, record: dict[str, Any]) -> None:
    if record["step"] % EPOCH == 0:
        speed = f"{record['pairs_per_second']:.0f} pairs/s"
        print(f"{config.name}: {record['step']} of {config.steps}, loss {record['loss']:.3f}, {speed}", flush=True)


def measured(options: Options, config: TrainConfig, weights: Path) -> dict[str, float]:
    """All that is measured of a trained arm."""
    return {**on_pairs(options, config, weights), **on_videos(options, config, weights)}


def on_pairs(options: Options, config: TrainConfig, weights: Path) -> dict[str, float]:
    """Means over the pairs of the validation split."""
    changes = {"source": Procedural(), "start": str(weights), "objective": options.network.objective("ce")}
    config = dataclasses.replace(config, validation_pairs=VALIDATION_PAIRS, **changes)
    recipe = loop.make_recipe(config)
    state, _ = loop.first_state(config, recipe)
    return loop.validator(config, recipe)(state)


def on_videos(options: Options, config: TrainConfig, weights: Path) -> dict[str, float]:
    """AUC and P@20 as the tracker of its family, on rendered videos and on both groups of real targets."""
    tracker = dataclasses.replace(options.network.config, weights=str(weights))
    groups: dict[str, tuple[str, tuple[str, ...] | None]] = {"procedural": ("procedural", None)}
    if options.data_dir is not None:
        groups |= {"six": ("otb100", CHOICE), "seven": ("otb100", APART)}
    found = {}
    for group, (name, sequences) in groups.items():
        benchmark = benchmarks.load(name, options.data_dir if sequences else None, sequences)
        entry = Entry(config.name, options.network.tracker, tracker)
        [result] = comparison.from_runs(benchmark, evaluate([entry], benchmark, options.folder / "results"))
        for metric in ("auc", "precision_20"):
            found[f"{group}_{metric}"] = result.headline(
                metric, [sequence.name for sequence in benchmark.sequences]
            ).mean
    return found


def print_hours(options: Options) -> None:
    """How long everything takes, from a few steps."""
    config = dataclasses.replace(arm_config(options, "cr_igr", 0, ""), source=Procedural())
    training = training_speed.prepare(config)
    for number in range(1, 4):
        training.go(number)
    whole, rendering = statistics.median(training.seconds), training_speed.rendering_seconds(config, 3)
    warm = WARM_STEPS * whole if options.network.warm_rate else 0.0
    steps = options.pairs // BATCH
    seconds = warm + options.seeds * steps * (rendering + len(options.arms) * (whole - rendering))
    print(
        f"{options.study}: rendering {BATCH / rendering:.0f} pairs/s, training on stored ones "
        f"{BATCH / (whole - rendering):.0f}; all of it takes {seconds / 3600:.1f} h, compiling and evaluation apart"
    )


def run(options: Options) -> None:
    """Seed after seed, so that whatever is finished compares all arms."""
    start = warm_start(options)
    for seed in range(options.seeds):
        missing = [arm for arm in options.arms if not finished(options, arm, seed)]
        if missing:
            store(Procedural(), first_pair(seed), options.pairs, options.pairs_folder(seed))
        for arm in missing:
            begun = time.perf_counter()
            config = arm_config(options, arm, seed, start)
            found = measured(options, config, trained(options, config))
            record = {"arm": arm, "seed": seed, "pairs": options.pairs, **found}
            files.write_text(result_path(options, arm, seed), json.dumps(record, indent=1))
            minutes = (time.perf_counter() - begun) / 60
            print(f"{config.name}: AUC {found['procedural_auc']:.3f}, {minutes:.1f} minutes", flush=True)
        shutil.rmtree(options.pairs_folder(seed), ignore_errors=True)


def finished(options: Options, arm: str, seed: int) -> bool:
    """Whether all that is asked of an arm is measured; refuses what was trained on another number of pairs."""
    path = result_path(options, arm, seed)
    if not path.is_file():
        return False
    row = json.loads(path.read_text())
    if row["pairs"] != options.pairs:
        raise SystemExit(f"{path} is of {row['pairs']} pairs, not {options.pairs}: choose another folder by --out")
    return options.data_dir is None or "six_auc" in row


def result_path(options: Options, arm: str, seed: int) -> Path:
    """What was measured of an arm under a seed."""
    return options.folder / f"{arm}_{seed}.json"


def main(options: Options) -> None:
    """Runs the study, or says how long it takes."""
    if options.hours:
        print_hours(options)
    else:
        run(options)


if __name__ == "__main__":
    main(tyro.cli(Options))
