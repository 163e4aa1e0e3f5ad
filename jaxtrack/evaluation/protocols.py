"""Named rules by which result boxes are scored: those of OTB, PySOT, GOT-10k and pytracking (docs/protocols.md).

A protocol is a row of numbers and choices; one function scores by any of them. Sources: OTB's MATLAB toolkit
(`calcSeqErrRobust.m`), in which the first frame counts and is the annotation itself, and frames without a valid
annotation stay in the denominator, as failures of overlap and hits of precision; PySOT's evaluation; GOT-10k's of its
validation set; pytracking's analysis. A further protocol is one more entry of `PROTOCOLS`.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np

from jaxtrack.boxes import as_in_files
from jaxtrack.data.sequences import Sequence, image_size
from jaxtrack.errors import UserError
from jaxtrack.evaluation import metrics

Invalid = Literal["hit", "miss", "skip", "miss in pixels"]
_MULTIPLES = np.arange(21) * 0.05  # as numpy's arange(0, 1.05, 0.05)
_EPSILON = 1e-16  # PySOT adds it to a width or height before it divides by it
_GOT10K_EPSILON = np.finfo(np.float64).eps


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How result boxes become a score.

    Attributes:
      name: what `--protocol` calls it.
      success_steps: how the thresholds 0, 0.05, ..., 1 are spelled in float64: from both ends, as MATLAB does, or as
        multiples. It moves an overlap that is exactly a threshold.
      first_frame: `annotation`: it counts as right; `result`: as any other; `left out`.
      repaired: whether an unusable result (not finite, without width or height) becomes the one before. Otherwise NaN
        in a result file is refused.
      fitted: whether results of another length are padded or cut; otherwise they are refused.
      cut_on: benchmarks on which those that are too long are cut all the same (PySOT does so for LaSOT's monkey-17).
      valid: annotations that count: `positive`: by the benchmark's own rule, mostly all four numbers of the file above
        0; `size`: width and height above 0.
      invalid: what frames without such an annotation are to precision; `miss in pixels`: they are misses of it, but
        hits of normalised precision. For overlap they are failures, unless skipped: then they are not counted at all.
      hits_on: benchmarks on which they are hits whatever `invalid` says.
      not_on: benchmarks, several in one, whose parts have different rules.
      by_centre: whether precision asks if the annotation's centre is above 0 in both coordinates, and nothing else.
      clipped: whether boxes are cut to the image.
      pooled: whether all frames weigh the same, and not all sequences.
    """

    name: str
    success_steps: Literal["matlab", "multiples"] = "matlab"
    first_frame: Literal["annotation", "result", "left out"] = "annotation"
    repaired: bool = True
    fitted: bool = True
    cut_on: frozenset[str] = frozenset()
    cut: bool = False
    valid: Literal["positive", "size"] = "positive"
    invalid: Invalid = "hit"
    hits_on: frozenset[str] = frozenset()
    not_on: frozenset[str] = frozenset()
    by_centre: bool = False
    clipped: bool = False
    pooled: bool = False

    @property
    def success_thresholds(self) -> np.ndarray:
        """`float64 [21]`."""
        return metrics.SUCCESS_THRESHOLDS if self.success_steps == "matlab" else _MULTIPLES

    def on(self, benchmark: str) -> "Protocol":
        """The rules on a benchmark (its short name).

        Raises:
          UserError: it is several benchmarks in one, which these rules treat differently.
        """
        if benchmark in self.not_on:
            raise UserError(f"the protocol {self.name} has no one rule for the parts of {benchmark}: score them apart")
        invalid: Invalid = "hit" if benchmark in self.hits_on else self.invalid
        return dataclasses.replace(self, invalid=invalid, cut=benchmark in self.cut_on)


OTB = Protocol("otb")
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "otb": OTB,
        "pysot": Protocol(
            "pysot",
            success_steps="multiples",
            first_frame="result",
            repaired=False,
            fitted=False,
            cut_on=frozenset({"lasot"}),
            valid="size",
            by_centre=True,
        ),
        "got10k": Protocol(
            "got10k",
            success_steps="multiples",
            first_frame="left out",
            repaired=False,
            fitted=False,
            valid="size",
            invalid="skip",
            clipped=True,
            pooled=True,
        ),
        "pytracking": Protocol(
            "pytracking",
            success_steps="multiples",
            valid="size",
            invalid="miss in pixels",
            hits_on=frozenset({"uav123", "uav20l", "uav123_10fps"}),
            not_on=frozenset({"ablation352"}),
        ),
    }
)


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
    """What is measured of each frame, `[N]` each.

    Attributes:
      overlaps: -1 where there is nothing to overlap with.
      errors: distances of the centres in pixels.
      norm_errors: the same in widths and heights of the annotation.
      valid: frames that the mean overlap is taken over.
      counted: frames that the curves are taken over.
    """

    overlaps: np.ndarray
    errors: np.ndarray
    norm_errors: np.ndarray
    valid: np.ndarray
    counted: np.ndarray


def score(boxes: np.ndarray, sequence: Sequence, rules: Protocol = OTB) -> metrics.SequenceScore:
    """The score of one run over one sequence.

    Args:
      boxes: `[M, 4]`, (x, y, w, h), 0-based pixels.
      sequence: its annotations, N frames; images are read for their size alone, where the rules cut boxes to it.
      rules: see `Protocol`.

    Raises:
      UserError: M is not N, or boxes are not finite, and the rules do not say what to do.
    """
    measured = measure(boxes, sequence, rules)
    counted, valid = measured.counted, measured.valid & measured.counted
    return metrics.SequenceScore(
        success=metrics.success_curve(measured.overlaps[counted], rules.success_thresholds),
        precision=metrics.precision_curve(measured.errors[counted]),
        mean_overlap=float(np.mean(measured.overlaps[valid])) if valid.any() else float("nan"),
        frames=int(np.sum(counted)),
        valid_frames=int(np.sum(valid)),
        norm_precision=metrics.precision_curve(measured.norm_errors[counted], metrics.NORM_PRECISION_THRESHOLDS),
        object_class=sequence.object_class,
    )


def measure(boxes: np.ndarray, sequence: Sequence, rules: Protocol) -> Frames:
    """Overlaps and errors of every frame; arguments as in `score`."""
    boxes = np.asarray(boxes, np.float64)
    check(boxes, sequence, rules)
    rows = metrics.prepare(boxes, sequence.boxes) if rules.repaired else boxes[: len(sequence)]
    # As the files have them: the rules ask for signs of their coordinates.
    rows, truth = as_in_files(rows, sequence.origin), as_in_files(sequence.boxes, sequence.origin)
    sized = np.isfinite(truth).all(axis=1) & (truth[:, 2:] > 0).all(axis=1)
    valid = sequence.valid & sized if rules.valid == "positive" else sized
    with np.errstate(invalid="ignore", over="ignore"):
        centres = truth[:, :2] + (truth[:, 2:] - 1) / 2
        offsets = rows[:, :2] + (rows[:, 2:] - 1) / 2 - centres  # [N, 2]
        known = (centres > 0).all(axis=1) if rules.by_centre else valid
        errors = np.hypot(*offsets.T)
        norms = np.hypot(*(offsets / (truth[:, 2:] + _EPSILON)).T)
    invalid = -1.0 if rules.invalid == "hit" else np.inf
    norm_invalid = -1.0 if rules.invalid in ("hit", "miss in pixels") else np.inf
    there = sequence.there
    present = valid & there
    return Frames(
        overlaps=np.where(present, _overlap(rows, truth, sequence, rules), -1.0),
        errors=np.where(there, np.where(known, errors, invalid), np.inf),
        norm_errors=np.where(there, np.where(known, norms, norm_invalid), np.inf),
        valid=present,
        counted=_counted(sequence, present, rules),
    )


def check(boxes: np.ndarray, sequence: Sequence, rules: Protocol) -> None:
    """Refuses boxes that the rules do not say how to score: `UserError`."""
    fits = len(boxes) >= len(sequence) if rules.cut else len(boxes) == len(sequence)
    if not (fits or rules.fitted):
        much = "short" if len(boxes) < len(sequence) else "long"
        raise UserError(
            f"the result of {sequence.name} is too {much}: {len(boxes)} rows for {len(sequence)} frames, which the "
            f"protocol {rules.name} does not allow"
        )
    broken = np.flatnonzero(~np.isfinite(boxes).all(axis=1))
    if broken.size and not rules.repaired:
        raise UserError(
            f"the result of {sequence.name} has NaN in row {broken[0] + 1}, which the protocol {rules.name} does not "
            "allow"
        )


def _overlap(rows: np.ndarray, truth: np.ndarray, sequence: Sequence, rules: Protocol) -> np.ndarray:
    truth = np.where(np.isfinite(truth), truth, 0.0)
    if not rules.clipped:
        return np.clip(metrics.overlap(rows, truth), 0.0, 1.0)
    rows, truth = (_clip(boxes, image_size(sequence)) for boxes in (rows, truth))
    low = np.maximum(rows[:, :2], truth[:, :2])
    high = np.minimum(rows[:, :2] + rows[:, 2:], truth[:, :2] + truth[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    union = np.prod(rows[:, 2:], axis=1) + np.prod(truth[:, 2:], axis=1) - shared
    return np.clip(shared / (union + _GOT10K_EPSILON), 0.0, 1.0)


def _clip(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes cut to an image whose corners are at 0 and `size` in the coordinates of the files.

    As GOT-10k's toolkit does it: a corner that lies outside is moved inside, and the box keeps its width and height as
    far as they fit from there, whatever of them was outside before.
    """
    low = np.clip(boxes[:, :2], 0, size)
    return np.concatenate([low, np.clip(boxes[:, 2:], 0, size - low)], axis=1)


def _counted(sequence: Sequence, present: np.ndarray, rules: Protocol) -> np.ndarray:
    counted = present.copy() if rules.invalid == "skip" else np.ones(len(present), np.bool_)
    if rules.pooled and sequence.cover is not None:
        counted = counted & (sequence.cover > 0)
    if rules.first_frame == "left out":
        counted[0] = False
    return counted
