"""Trainings that config files choose from and change."""

import dataclasses
from pathlib import Path
from typing import Literal

from jaxtrack.data.pairs import USES, PairSampling, Use
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.labels import AnchorLabels, EllipseLabels, TokenLabels
from jaxtrack.training.objective import Objective
from jaxtrack.training.optimiser import FROM_NOTHING, Optimiser
from jaxtrack.training.sources import Disk, FactorDisk

BASELINE = Objective()
# The arms of the RBO paper's Table 4, with the weights of the authors' code. They released none for IGR-ori: its
# weight is IGR's, which is our choice.
CR = Objective(classification_ranking=0.5)
CR_IGR_ORI = Objective(classification_ranking=0.5, joint_ranking=0.25)
CR_IGR = Objective(classification_ranking=0.5, iou_ranking=0.25)
ABLATION = {"": BASELINE, "_cr": CR, "_cr_igr_ori": CR_IGR_ORI, "_rbo": CR_IGR}

# On CPUs every core is a device of its own; the batch's statistics are to be those of the whole batch all the same.
NANO = TrainConfig(sync_norm=True)

TRANST_OPTIMISER = Optimiser(
    method="adamw",
    schedule="step",
    warmup_epochs=0,
    rate=1e-4,
    last_rate=1e-5,
    last_epochs=500,
    clip=0.0,
    backbone_factor=0.1,
    frozen_epochs=0,
    trained_backbone=("stem", "layer1", "layer2", "layer3"),
)
_TRANST_DATASETS = {
    "lasot": "lasot/train",
    "got10k": "got10k/train",
    "coco": "coco/train2014",
    "trackingnet": "trackingnet/train",
}
# Of each dataset, so that all are equally likely; more than COCO has images, or a part of them would never be drawn.
_TRANST_VIDEOS = 100_000
_FOUR_STAGES = ("stage1", "stage2", "stage3", "stage4")

Data = Literal["full", "got10k"]
PREPARED = Path("data")  # where `jaxtrack prepare --out data` puts datasets


def nano(name: str, objective: Objective) -> TrainConfig:
    """The small network trained for an objective."""
    return dataclasses.replace(NANO, name=name, objective=objective)


def _disk(data: Data, without: tuple[str, ...] = ()) -> Disk:
    """Datasets with the references' shares of an epoch; on GOT-10k alone, training and validation videos together."""
    if data == "got10k":
        sampling = PairSampling(uses=(Use("got10k", 100, 200_000),))
        return Disk((PREPARED / "got10k" / "all",), sampling=sampling)
    uses = tuple(use for use in USES if use.dataset not in without)
    folders = tuple(PREPARED / use.dataset / "train" for use in uses)
    return Disk(folders, sampling=PairSampling(uses=uses))


def _large(
    name: str, architecture: str, source: Disk, pairs: int, batch: int, devices: int, **changes: object
) -> TrainConfig:
    """A ResNet-50 network as the references train it: 20 epochs of `pairs`, the backbone frozen in the first ten.

    The references evaluate what they have after each of the epochs 10 to 20, and choose.
    """
    fields = {
        "name": name,
        "architecture": architecture,
        "source": source,
        "batch": batch,
        "steps_per_epoch": pairs // batch,
        "normalisation": "per_device",
        "reference_devices": devices,
        "optimiser": Optimiser(),
        "checkpoint_steps": 1000,
        "keep_from_epoch": 10,
        "validation_pairs": 0,
        "start": "resnet50",
        "seed": 123456,
        **changes,
    }
    return TrainConfig(**fields)  # type: ignore[arg-type]


def siamrpn(name: str, objective: Objective, data: Data) -> TrainConfig:
    """SiamRPN++ as RBO trains it, on 4 devices of 32 pairs: it ranks against all negatives, 48 are in cross entropy."""
    objective = dataclasses.replace(objective, loc=1.2, gamma=3.0 if data == "full" else 5.0, pooled_negatives=48)
    source, pairs = _disk(data, without=("lasot",)), 800_000 if data == "full" else 600_000
    labels = AnchorLabels(keep_all_negatives=True)
    return _large(name, "siamrpn_r50", source, pairs, 128, 4, objective=objective, labels=labels)


def siamban(name: str, objective: Objective, data: Data) -> TrainConfig:
    """SiamBAN on 3 devices of 28 pairs; the ranking losses' gamma is the paper's, as no code of theirs is published."""
    pairs = 1_000_000 if data == "full" else 600_000
    return _large(name, "siamban_r50", _disk(data), pairs, 84, 3, objective=objective)


def siampw(name: str, objective: Objective, data: Data) -> TrainConfig:
    """SiamPW as RBO trains it, on 4 devices of 28 pairs."""
    return _large(
        name,
        "siampw_r50",
        _disk(data),
        1_000_000 if data == "full" else 600_000,
        112,
        4,
        objective=dataclasses.replace(objective, gamma=5.0),
        labels=EllipseLabels(negative_pair_cap=None),
        optimiser=Optimiser(trained_backbone=("layer2", "layer3")),
    )


def transt_objective(objective: Objective) -> Objective:
    """With TransT's losses in the place of SiamBAN's; the ranking losses come with the weights that they have.

    A second cross entropy keeps what it weighs beside the first.
    """
    return dataclasses.replace(objective, cls=8.334, loc=5.0, giou=2.0, hard_cls=8.334 * objective.hard_cls)


def transt(name: str, objective: Objective, data: Data) -> TrainConfig:
    """TransT as its authors train it; nothing of the training with ranking losses is released but that it was done.

    Gradients are those of the whole batch and statistics those of each device, as the reference has them.
    """
    if data == "got10k":
        folders, uses = (PREPARED / "got10k" / "train",), (Use("got10k", 100),)
    else:
        folders = tuple(PREPARED / place for place in _TRANST_DATASETS.values())
        uses = tuple(Use(name, 0 if name == "coco" else 100, _TRANST_VIDEOS) for name in _TRANST_DATASETS)
    return TrainConfig(
        name=name,
        architecture="transt",
        source=FactorDisk(folders, sampling=PairSampling(uses=uses, negative=0.0, gray=0.05)),
        labels=TokenLabels(),
        objective=transt_objective(objective),
        optimiser=TRANST_OPTIMISER,
        batch=38,
        epochs=1000,
        steps_per_epoch=1000,
        checkpoint_steps=1000,
        keep_from_epoch=0,
        validation_pairs=0,
        start="resnet50_plain",
    )


def transt_nano(name: str, objective: Objective) -> TrainConfig:
    """A small TransT trained for an objective, on the pairs of the small SiamBAN."""
    return dataclasses.replace(
        NANO,
        name=name,
        architecture="transt_nano",
        labels=TokenLabels(positives=64, cut=True),
        objective=transt_objective(objective),
        optimiser=dataclasses.replace(FROM_NOTHING, rate=5e-4, trained_backbone=_FOUR_STAGES),
    )


def as_printed(config: TrainConfig) -> TrainConfig:
    """With the ranking losses and the weights of the paper's equations instead of the released code's."""
    objective = dataclasses.replace(config.objective, variant="paper", gamma=3.0, smooth_l1=True)
    return dataclasses.replace(config, objective=objective)
