"""The narrow student of the network that configs/rpn_small_procedural.py has trained, on rendered scenes.

python train.py --config configs/rpn2t_small_student.py

Hardware: two CPU cores; some 8 minutes, at 0.12 s a step and 0.1 s for each of 1,500 frames. They take 354 MB of
memory. Has not been run to its end. Its weights are what the tracker `rpn2t` loads with the architecture
`rpn2t_small_student`. The paper has no number for it.
"""

from jaxtrack.training.distillation.config import DistillationConfig


def config() -> DistillationConfig:
    """The configuration of the experiment."""
    return DistillationConfig(
        name="rpn2t_small_student",
        architecture="rpn2t_small_student",
        batch=16,
        epochs=20,
        steps_per_epoch=100,
        checkpoint_steps=500,
        start="runs/rpn_small_procedural/rpn_small_procedural.safetensors",
    )
