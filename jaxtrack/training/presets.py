"""Trainings that config files choose from and change."""

import dataclasses

from jaxtrack.training.config import TrainConfig
from jaxtrack.training.objective import Objective
from jaxtrack.training.optimiser import Optimiser

BASELINE = Objective()
# The ablation of the RBO paper's Table 4, with the weights of siamese.md 5.5.
CR = Objective(classification_ranking=0.5)
CR_IGR_ORI = Objective(classification_ranking=0.5, joint_ranking=0.25)
CR_IGR = Objective(classification_ranking=0.5, iou_ranking=0.25)

# From random initialisation: nothing is frozen, Adam gets further in few steps than SGD with the references' rates.
FROM_NOTHING = Optimiser(
    method="adamw",
    schedule="cosine",
    warmup_rate=1e-4,
    rate=1e-3,
    last_rate=1e-5,
    warmup_epochs=1,
    weight_decay=0.01,
    backbone_factor=1.0,
    frozen_epochs=0,
    trained_backbone=("stage1", "stage2", "stage3"),
)

NANO = TrainConfig(name="siamban_nano", architecture="siamban_nano", optimiser=FROM_NOTHING)


def nano(name: str, objective: Objective) -> TrainConfig:
    """The small network trained for an objective."""
    return dataclasses.replace(NANO, name=name, objective=objective)
