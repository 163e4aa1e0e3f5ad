"""A narrow region proposal network from random numbers on rendered scenes: the teacher of `rpn2t_small_student`.

python train.py --config configs/rpn_small_procedural.py

Hardware: two CPU cores; some 35 minutes, at 0.32 s a step and 0.1 s for each of 1,500 frames. They take 354 MB of
memory. Has not been run to its end. Its weights are what the tracker `rpn2t_teacher` loads with the architecture
`rpn2t_small_teacher`. The paper has no number for it.
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
