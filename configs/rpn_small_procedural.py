"""A narrow region proposal network from random numbers on rendered scenes: the teacher of `rpn2t_small_student`.

python train.py --config configs/rpn_small_procedural.py

Hardware: two CPU cores, 40 minutes beside other work. The frames take 354 MB of memory. Of the validation's objects one
of the 50 best proposals overlaps 0.752 by a half. Its weights come with jaxtrack, for the tracker
`rpn2t_small_teacher`; docs/mdnet.md has its numbers. The paper has none for it.
"""

from jaxtrack.training.detection.config import DetectionConfig


def config() -> DetectionConfig:
    """The configuration of the experiment."""
    return DetectionConfig(
        name="rpn_small_procedural",
        architecture="rpn2t_small_teacher",
        batch=2,
        epochs=12,
        steps_per_epoch=250,
        checkpoint_steps=500,
    )
