"""Tables and maps of the ablation that `rbo_ablation.py` has run.

    python benchmarks/rbo_tables.py --out ablation
    python benchmarks/rbo_tables.py --out ablation --maps maps.png

An arm is compared with cross entropy seed by seed, as both have seen the same pairs from the same start. The interval
is Student's, 95 % of it; half of it is the smallest difference that so many seeds can tell from none.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
import tyro
from rbo_ablation import ARMS, Options, Study, arm_config

from jaxtrack.models import siamese
from jaxtrack.training import objective, validation
from jaxtrack.training.siamese import Recipe, make_recipe
from jaxtrack.training.sources import Procedural
from jaxtrack.weights import store

TITLES = {
    "ce": "cross entropy (CE)",
    "two_stage": "two-stage CE",
    "cr": "CE + CR",
    "igr": "CE + IGR",
    "cr_igr": "CE + CR + IGR",
    "cr_igr_ori": "CE + CR + IGR-ori",
}
TRACKING = {
    "procedural_auc": "AUC, rendered videos",
    "six_auc": "AUC, six targets",
    "six_precision_20": "P@20, six targets",
    "seven_auc": "AUC, seven others",
    "seven_precision_20": "P@20, seven others",
}
MECHANISM = {
    "iou": "IoU of the best score",
    "success": "IoU above 0.5",
    "rank": "Spearman of score and IoU",
    "positive": "P+",
    "margin": "P+ minus the highest negative",
    "distractor": "strongest distractor",
}
_MAP_ARMS = 3
_SIDE, _GAP = 255, 6


@dataclasses.dataclass(frozen=True)
class Tables:
    """Print what the ablation found."""

    study: Study = "siamban_pico"
    """The network."""
    out: Path = Path("ablation")
    """Where the ablation lies."""
    maps: Path | None = None
    """Also draw the score maps of seed 0 on the validation pairs with the strongest distractors, into this picture."""


def results(options: Tables) -> dict[tuple[str, int], dict[str, Any]]:
    """What was measured, by arm and seed."""
    found = [json.loads(path.read_text()) for path in sorted((options.out / options.study).glob("*.json"))]
    return {(row["arm"], row["seed"]): row for row in found}


def values(rows: dict[tuple[str, int], dict[str, Any]], arm: str, measure: str) -> dict[int, float]:
    """A measure of an arm by seed."""
    return {seed: row[measure] for (name, seed), row in rows.items() if name == arm and measure in row}


def difference(ours: dict[int, float], base: dict[int, float]) -> tuple[float, float]:
    """Mean of the paired differences and half of the 95 % interval (NaN for fewer than two seeds)."""
    paired = np.asarray([ours[seed] - base[seed] for seed in sorted(ours.keys() & base.keys())])
    if len(paired) < 2:
        return float(paired.mean()) if len(paired) else math.nan, math.nan
    spread = paired.std(ddof=1) / math.sqrt(len(paired))
    return float(paired.mean()), float(scipy.stats.t.ppf(0.975, len(paired) - 1) * spread)


def cell(rows: dict[tuple[str, int], dict[str, Any]], arm: str, measure: str) -> str:
    """The mean over the seeds and the difference to cross entropy; in bold where the seeds can tell it from none."""
    ours, base = (values(rows, name, measure) for name in (arm, "ce"))
    if not ours:
        return ""
    mean = f"{np.mean(list(ours.values())):.3f}"
    if arm == "ce":
        return mean
    delta, half = difference(ours, base)
    text = f"{delta:+.3f}" + ("" if math.isnan(half) else f" ± {half:.3f}")
    return f"{mean} ({f'**{text}**' if abs(delta) > half else text})"


def print_table(rows: dict[tuple[str, int], dict[str, Any]], measures: dict[str, str]) -> None:
    """One table, an arm in a line."""
    shown = {name: title for name, title in measures.items() if any(name in row for row in rows.values())}
    print("| | seeds | " + " | ".join(shown.values()) + " |")
    print("|---" * (len(shown) + 2) + "|")
    for arm in ARMS:
        measured = sorted({len(values(rows, arm, name)) for name in shown})
        if any(measured):
            seeds = " or ".join(map(str, measured))
            print(f"| {TITLES[arm]} | {seeds} | " + " | ".join(cell(rows, arm, name) for name in shown) + " |")
    print()


def network(options: Tables, arm: str) -> tuple[Recipe, Any]:
    """What an arm of seed 0 was trained with, and its variables."""
    config = arm_config(Options(study=options.study, out=options.out), arm, 0, "")
    loaded, _ = store.load(options.out / options.study / config.name / f"{config.name}.safetensors")
    return make_recipe(config), loaded


def hard_pairs(options: Tables, count: int, among: int = 256) -> Any:
    """The validation pairs on which plain cross entropy gives something outside the box the highest scores."""
    recipe, variables = network(options, "ce")
    numbers = jnp.arange(among, dtype=jnp.uint32)
    pairs = jax.jit(Procedural(split="validation").pairs)(numbers)
    keys = jax.vmap(jax.random.key)(numbers)
    measures = jax.jit(lambda pairs: validation.pair_measures(recipe, variables, pairs, keys))(pairs)
    hardest = jnp.argsort(jnp.where(pairs.negative, -1.0, measures["distractor"]), descending=True)[:count]
    return jax.tree.map(lambda leaf: leaf[hardest], pairs)


def score_maps(options: Tables, arm: str, pairs: Any) -> np.ndarray:
    """An arm's scores of points, `float32 [B, S, S]`."""
    recipe, variables = network(options, arm)
    side = recipe.architecture.score_cells
    outputs: Any = jax.jit(siamese.build(recipe.architecture).apply)(variables, pairs.template, pairs.search)
    logits = objective.per_candidate(outputs[0], 2)
    return np.asarray(jax.nn.sigmoid(logits[..., 1] - logits[..., 0])).reshape(-1, side, side)


def draw_maps(options: Tables, path: Path, count: int = 6) -> None:
    """A line for each pair: template, search region with the box, one map for each of the first three arms."""
    pairs = hard_pairs(options, count)
    done = [arm for arm in ARMS if (arm, 0) in results(options)][:_MAP_ARMS]
    maps = {arm: score_maps(options, arm, pairs) for arm in done}
    stride_px = siamese.ARCHITECTURES[options.study].stride_px
    lines = []
    for i in range(count):
        template = cv2.resize(shown(pairs.template[i]), (_SIDE, _SIDE))
        search = shown(pairs.search[i])
        x1, y1, x2, y2 = (round(float(side)) for side in pairs.box_xyxy[i])
        marked = cv2.rectangle(search.copy(), (x1, y1), (x2, y2), (60, 220, 60), 2)
        heats = [heat(search, maps[arm][i], stride_px) for arm in done]
        lines.append(np.concatenate([framed(tile) for tile in (template, marked, *heats)], axis=1))
    cv2.imwrite(str(path), np.concatenate(lines, axis=0))


def shown(image: Any) -> np.ndarray:
    """A training image as `uint8`; changes of colour take some pixels out of range."""
    return np.clip(np.asarray(image), 0, 255).astype(np.uint8)


def heat(search: np.ndarray, scores: np.ndarray, stride_px: int) -> np.ndarray:
    """Scores `[S, S]` of cells so far apart over a search region `uint8 [255, 255, 3]`, from blue (0) to red (1)."""
    side = stride_px * scores.shape[0]
    inner = cv2.resize(scores, (side, side), interpolation=cv2.INTER_NEAREST)
    whole = np.zeros((_SIDE, _SIDE), np.float32)
    start, cut = max(0, (_SIDE - side) // 2), max(0, (side - _SIDE + 1) // 2)  # 16 cells of 16 pixels are one too wide
    inner = inner[cut : cut + _SIDE, cut : cut + _SIDE]
    whole[start : start + len(inner), start : start + len(inner)] = inner
    coloured = cv2.applyColorMap((255 * whole).astype(np.uint8), cv2.COLORMAP_JET)
    return cv2.addWeighted(search, 0.35, coloured, 0.65, 0)


def framed(tile: np.ndarray) -> np.ndarray:
    """With a margin on two sides."""
    return np.pad(tile, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255)


def main(options: Tables) -> None:
    """Prints the tables, draws the maps."""
    rows = results(options)
    if not rows:
        raise SystemExit(f"{options.out / options.study} holds no results: run rbo_ablation.py first")
    print_table(rows, TRACKING)
    print_table(rows, MECHANISM)
    if options.maps is not None:
        draw_maps(options, options.maps)


if __name__ == "__main__":
    main(tyro.cli(Tables))
