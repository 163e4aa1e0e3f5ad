"""The narrow student of the network that configs/rpn_small_procedural.py has trained, on rendered scenes.

python train.py --config configs/rpn2t_small_student.py

Hardware: two CPU cores, 10 minutes beside other work. The frames take 354 MB of memory. 0.947 of the teacher's maps of
the validation's regions is explained. Its weights come with jaxtrack, for the tracker `rpn2t_small`; docs/mdnet.md has
its numbers. The paper has none for it.
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
