"""RPN2T's student, which makes of crops of 107 pixels what its teacher makes of 203, on a folder of images.

python train.py --config configs/rpn2t_student.py

Needs images in data/images (the paper does not say which; VOC's JPEGImages are many enough) and the teacher's weights
as `rpn2t_teacher`: imported ones, or by `--set.start runs/rpn_zf_voc/rpn_zf_voc.safetensors` those of
configs/rpn_zf_voc.py.
Hardware: made for a GPU; has not been run. The paper says that the student loses nothing.
"""

from pathlib import Path

from jaxtrack.training.distillation.config import DistillationConfig
from jaxtrack.training.stills.sources import Folder


def config() -> DistillationConfig:
    """The configuration of the experiment."""
    images = Path("data/images")
    return DistillationConfig(
        name="rpn2t_student",
        architecture="rpn2t_student",
        source=Folder(images, "train"),
        validation=Folder(images, "validation"),
        start="rpn2t_teacher",
    )
