"""Trainings that cannot be, refused before anything is computed."""

import dataclasses

import pytest
import tiny_training

from jaxtrack.errors import UserError
from jaxtrack.training import siamese
from jaxtrack.training.config import TrainConfig
from jaxtrack.training.detection.config import DetectionConfig
from jaxtrack.training.distillation.config import DistillationConfig
from jaxtrack.training.domains.config import DomainConfig
from jaxtrack.training.domains.videos import Scenes
from jaxtrack.training.labels import AnchorLabels
from jaxtrack.training.optimiser import Optimiser
from jaxtrack.training.sources import Disk, Procedural
from jaxtrack.training.stills.sources import Rendered

ALEX = {"architecture": "siamrpn_alex", "labels": AnchorLabels(), "validation_pairs": 0}


@pytest.mark.parametrize("source", [Procedural(), Disk()])
def test_a_network_that_looks_at_other_sizes_than_pairs_have_is_refused(source):
    message = "siamrpn_alex looks at templates and search regions of 127 and 287 pixels, and training pairs of "
    with pytest.raises(UserError, match=message):
        siamese.make_recipe(TrainConfig(source=source, **ALEX))


def test_a_source_of_somebodys_own_may_have_pairs_of_any_size():
    recipe = siamese.make_recipe(TrainConfig(source=tiny_training.Squares(), **ALEX))  # type: ignore[arg-type]
    assert recipe.architecture.search_px == 287


@pytest.mark.parametrize("source", [Procedural(split="validation"), Disk(split="validation")])
def test_nobody_trains_on_the_pairs_of_the_validation(source):
    with pytest.raises(UserError, match="a training is on the split train of its source, not on validation"):
        TrainConfig(source=source)
    with pytest.raises(UserError, match="not on validation"):
        dataclasses.replace(TrainConfig(), source=source)
    assert TrainConfig().held_out.split == "validation"


@pytest.mark.parametrize(
    ("training", "source"),
    [(DomainConfig, Scenes(4)), (DetectionConfig, Rendered(4)), (DistillationConfig, Rendered(4))],
)
def test_nor_on_the_scenes_of_the_validation(training, source):
    with pytest.raises(UserError, match="a training is on the split train of its source, not on validation: leave it"):
        training(source=dataclasses.replace(source, split="validation"))
    assert training(source=source).held_out.split == "validation"


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_seeds_that_no_generator_takes_or_that_another_one_is_the_same_as_are_refused(seed):
    for name, make in (
        ("TrainConfig", lambda: TrainConfig(seed=seed)),
        ("Procedural", lambda: TrainConfig(source=Procedural(seed=seed))),
        ("Disk", lambda: TrainConfig(source=Disk(seed=seed))),
    ):
        with pytest.raises(UserError, match=f"seed of {name} must be between 0 and 2147483647, not {seed}"):
            make()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 2.5}, "epochs of TrainConfig must be a whole number, not 2.5"),
        ({"batch": "8"}, "batch of TrainConfig must be a whole number, not '8'"),
        ({"seed": True}, "seed of TrainConfig must be a whole number, not True"),
        ({"validation_pairs": "8"}, "validation_pairs of TrainConfig must be a number, not '8'"),
    ],
)
def test_what_must_be_a_number_is_checked_first(wrong, said):
    with pytest.raises(UserError, match=f"^{said}$"):
        TrainConfig(**wrong)


def test_samples_without_a_number_are_refused():
    """Their numbers are words of 32 bits, and after the last one the first would come again."""
    assert TrainConfig(batch=2**10, epochs=2**11, steps_per_epoch=2**11).steps == 2**22
    with pytest.raises(UserError, match="4299161600 samples are more than there are numbers for, 4294967296: take"):
        TrainConfig(batch=2**10, epochs=2**11, steps_per_epoch=2**11 + 2)


def test_accumulated_batches_must_end_with_their_stage():
    """The optimiser is a new one in the next stage, and of the batches before nothing would be left."""
    three = Optimiser(accumulate=3, frozen_epochs=1)
    with pytest.raises(UserError, match=r"an update of 3 steps, and the stage 'frozen' has 10: the last 1 would .* 9$"):
        TrainConfig(optimiser=three, epochs=3, steps_per_epoch=10)
    with pytest.raises(UserError, match="the stage 'whole' has 20: the last 2 would change nothing"):
        TrainConfig(optimiser=dataclasses.replace(three, frozen_epochs=0), epochs=2, steps_per_epoch=10)
    # Ten steps an epoch will do where all of them are one stage.
    TrainConfig(optimiser=dataclasses.replace(three, frozen_epochs=0), epochs=3, steps_per_epoch=10)
    TrainConfig(optimiser=three, epochs=3, steps_per_epoch=9)


def test_scaling_is_asked_for_by_options_as_they_are_typed():
    with pytest.raises(
        UserError, match=r"--set.scale-to-reference needs --set.reference-devices and --set.normalisati"
    ):
        TrainConfig(scale_to_reference=True)
    config = TrainConfig(normalisation="per_device", reference_devices=2)
    with pytest.raises(UserError, match=r"there are 4: --set.scale-to-reference multiplies their sum by 2/4, "):
        config.check_devices(4)
