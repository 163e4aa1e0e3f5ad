"""ZF's region proposal network on PASCAL VOC: RPN2T's teacher, for whom the published weights are not at hand.

python train.py --config configs/rpn_zf_voc.py

Needs VOC in data/voc, as VOC2007 and VOC2012 or in a folder VOCdevkit. Hardware: made for a GPU; has not been run.
Constants are py-faster-rcnn's, but for the beginning: that of Faster R-CNN has learnt to classify ImageNet, this one is
random. It is therefore trained for twice as many steps, and gradients longer than 10 are cut. COCO instead, as it is
shipped: `Annotated("coco", Path("data/coco"), "train")`.
The papers name no number for the proposals alone.
"""

import dataclasses
from pathlib import Path

from jaxtrack.training.detection.config import PUBLISHED, DetectionConfig
from jaxtrack.training.stills.sources import Annotated


def config() -> DetectionConfig:
    """The configuration of the experiment."""
    return DetectionConfig(
        name="rpn_zf_voc",
        architecture="zf_rpn",
        source=Annotated("voc", Path("data/voc"), "trainval"),
        validation=Annotated("voc", Path("data/voc"), "test"),
        optimiser=dataclasses.replace(PUBLISHED, clip=10.0),
        epochs=4,
        steps_per_epoch=40_000,
        checkpoint_steps=10_000,
    )
