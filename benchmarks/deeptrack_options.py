"""Options and ablations of DeepTrack: AUC, P@20 and time of each variant, as a table.

    python benchmarks/deeptrack_options.py --study ablation --data-dir DATA
    python benchmarks/deeptrack_options.py --study options --data-dir DATA --frames 70

Every finished (variant, sequence, seed) is a line of the output file; run the same command again after an interruption
and it goes on from there. The hours that the whole study takes are printed before it starts.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from targets import CHOICE, beginning

from jaxtrack.data import benchmarks
from jaxtrack.data.sequences import Sequence
from jaxtrack.evaluation import protocols, provenance
from jaxtrack.running import run
from jaxtrack.trackers import deeptrack

# What each study changes, by the path of the field.
STUDIES: dict[str, dict[str, dict[str, Any]]] = {
    "ablation": {
        "full": {},
        "plain loss (eq. 2)": {"training.loss.structural": False, "training.loss.beta": 0.0},
        "structural loss (eq. 3)": {"training.loss.beta": 0.0},
        "symmetric truncation (u = 0)": {"training.loss.u": 0.0},
        "no temporal sampling": {"training.temporal": "uniform"},
        "no label noise Q": {"training.label_noise": False},
        "joint training": {"training.joint": True},
        "model not lazy": {"training.lazy_model": False},
        "fusion not lazy": {"training.lazy_fusion": False},
        "cue 1 only": {"cues.used": (0,)},
        "cue 2 only": {"cues.used": (1,)},
        "cue 3 only": {"cues.used": (2,)},
    },
    "options": {
        "default": {},
        "context 1.0": {"sampling.context": 1.0},
        "context 1.5": {"sampling.context": 1.5},
        "H channel, not likeness to the target's hue": {"cues.hue_likeness": False},
        "V channel, not its local contrast": {"cues.value_contrast": False},
        "score not folded": {"folded_score": False},
        "no hard negatives in the first frame": {"mining": 0},
        "negatives at random": {"hard_negatives": 0.0},
        "learning in doubt": {"doubt": False},
        "hue not faded": {"cues.hue_fade": 0.0},
        "norm, not squared": {"training.loss.power": 1},
        "negatives exp(-age^2 / sigma)": {"training.temporal": "inverse"},
        "size deviation 2 %": {"sampling.scale_std_rel": 0.02},
        "4 positives a frame": {"positives_per_frame": 4},
        "1 positive in the first frame": {"first_positives": 1},
        "negatives up to 3 sides away": {"sampling.surround": 3.0},
        "momentum 0.9": {"training.momentum": 0.9, "training.first_rounds": 100},
        "weight decay 0.0005": {"training.weight_decay": 0.0005},
        "batch 32 + 32": {"training.positives": 32, "training.negatives": 32},
        "30 rounds a frame": {"training.rounds": 30},
        "exact particles": {"sampling.exact": True},
    },
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to run."""

    study: Literal["ablation", "options"] = "ablation"
    """Which table."""
    variants: tuple[str, ...] = ()
    """Only these of its rows."""
    benchmark: str = "otb100"
    """A benchmark's name."""
    data_dir: Path | None = None
    """Where its data lies."""
    sequences: tuple[str, ...] = ()
    """Its sequences; for OTB the six on which options are chosen, else all."""
    seeds: int = 1
    """Runs of each."""
    frames: int = 0
    """Only the first frames of each sequence; 0 for all."""
    out: Path = Path("results/deeptrack_options.jsonl")
    """Finished runs, one a line."""


def replaced(config: Any, path: str, value: Any) -> Any:
    """A configuration with the field at `path` (dots between levels) changed."""
    head, _, rest = path.partition(".")
    return dataclasses.replace(config, **{head: replaced(getattr(config, head), rest, value) if rest else value})


def variant(changes: dict[str, Any]) -> deeptrack.Config:
    """The default configuration with some changes."""
    config = deeptrack.Config()
    for path, value in changes.items():
        config = replaced(config, path, value)
    return config


class Beginning(list):
    """The first frames of a sequence, decoded once for all variants."""

    def __init__(self, sequence: Sequence, frames: int):
        count = min(frames or len(sequence), len(sequence))
        super().__init__(sequence[i] for i in range(count))
        self.name = sequence.name


def measure(config: deeptrack.Config, sequence: Sequence, clip: Beginning, seed: int) -> dict[str, Any]:
    """One run's figures."""
    track = run(deeptrack.tracker(config), {}, clip, sequence.boxes[0], seed)
    score = protocols.score(track.boxes.astype(np.float64), beginning(sequence, len(clip)))
    rounds = track.diagnostics["rounds"]
    return {
        "auc": score.auc,
        "p20": score.precision_20,
        "ms": 1e3 * float(np.mean(track.seconds[1:])),
        "trained": float(np.mean(rounds > 0)),
        "rounds": float(np.mean(rounds)),
        "truncated": float(np.mean(track.diagnostics["truncated"])),
    }


def table(rows: dict[str, list[dict[str, Any]]], seeds: int) -> str:
    """A Markdown table, one row a variant; AUC and P@20 as mean and deviation over seeds of the mean over sequences."""
    lines = ["| variant | AUC | P@20 | ms/frame | frames trained | rounds | cut |", "|---|---|---|---|---|---|---|"]
    for name, runs in rows.items():
        per_seed = [[run for run in runs if run["seed"] == seed] for seed in range(seeds)]

        def spread(key: str, per_seed: list = per_seed) -> str:
            means = [np.mean([run[key] for run in group]) for group in per_seed]
            deviation = f" ± {np.std(means, ddof=1):.3f}" if seeds > 1 else ""
            return f"{np.mean(means):.3f}{deviation}"

        def mean(key: str, runs: list = runs) -> float:
            return float(np.mean([run[key] for run in runs]))

        lines.append(
            f"| {name} | {spread('auc')} | {spread('p20')} | {mean('ms'):.0f} | {mean('trained'):.0%} "
            f"| {mean('rounds'):.1f} | {mean('truncated'):.0%} |"
        )
    return "\n".join(lines)


def main(options: Options) -> None:
    """Runs the study and prints its table."""
    names = options.sequences or (CHOICE if options.benchmark.startswith("otb") else None)
    found = benchmarks.load(options.benchmark, options.data_dir, names).sequences
    clips = {sequence.name: Beginning(sequence, options.frames) for sequence in found}
    chosen = {n: c for n, c in STUDIES[options.study].items() if not options.variants or n in options.variants}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    done = {}
    if options.out.exists():
        done = {entry["key"]: entry for entry in map(json.loads, options.out.read_text().splitlines())}
    frames = sum(map(len, clips.values())) * options.seeds * len(chosen)
    first = next(iter(clips.values()))[:20]
    track = run(deeptrack.tracker(deeptrack.Config()), {}, first, found[0].boxes[0], 0)
    hours = frames * float(np.mean(track.seconds[1:])) / 3600
    print(f"{len(chosen)} variants, {frames} frames in all: about {hours:.2f} h", flush=True)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
    for name, changes in chosen.items():
        config = variant(changes)
        for sequence in found:
            for seed in range(options.seeds):
                identity = [provenance.to_json(config), sequence.name, len(clips[sequence.name]), seed]
                key = provenance.short_hash(identity)
                if key not in done:
                    entry = measure(config, sequence, clips[sequence.name], seed)
                    done[key] = {"key": key, "variant": name, "sequence": sequence.name, "seed": seed, **entry}
                    with options.out.open("a") as file:
                        file.write(json.dumps(done[key]) + "\n")
                rows[name].append(done[key])
        print(table({name: rows[name]}, options.seeds).splitlines()[-1], flush=True)
    print("\n" + table(rows, options.seeds))


if __name__ == "__main__":
    main(tyro.cli(Options))
