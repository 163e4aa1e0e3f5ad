"""The config files: each loads, its network exists, and those of an ablation differ in nothing but the objective."""

import dataclasses
import functools
import importlib.util
from pathlib import Path

import pytest

from jaxtrack import trackers
from jaxtrack.models import mdnet, siamese
from jaxtrack.models.backbones import BACKBONES
from jaxtrack.training import loop
from jaxtrack.training.config import TrainConfig, Training
from jaxtrack.training.detection.anchors import Labels
from jaxtrack.training.detection.config import DetectionConfig
from jaxtrack.training.domains import presets
from jaxtrack.training.domains.config import DomainConfig
from jaxtrack.training.labels import AnchorLabels, EllipseLabels
from jaxtrack.training.optimiser import Optimiser, epoch_rates
from jaxtrack.weights import known

FILES = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.py"))
# The arms of the RBO paper's Table 4: weights of CR, of each half of IGR (both the released code's), and of IGR-ori,
# which was never released and has IGR's here.
ABLATION = {"": (0, 0, 0), "_cr": (0.5, 0, 0), "_cr_igr_ori": (0.5, 0, 0.25), "_rbo": (0.5, 0.25, 0)}
RANKING = ("classification_ranking", "iou_ranking", "joint_ranking")


def load(path):
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONFIGS = {path.stem: load(path).config() for path in FILES}
TRAININGS = {name: config for name, config in CONFIGS.items() if isinstance(config, TrainConfig)}
DOMAINS = {name: config for name, config in CONFIGS.items() if isinstance(config, DomainConfig)}
RANKED = sorted(name.removesuffix("_rbo") for name in TRAININGS if name.endswith("_rbo"))
# RBO's Table 5 has TransT with and without both ranking losses, and no other arm.
FAMILIES, TRANSTS = ([name for name in RANKED if name.startswith("transt") == chosen] for chosen in (False, True))


@functools.cache
def parts_of_backbone(architecture):
    return set(siamese.shapes(siamese.ARCHITECTURES[architecture])["params"]["backbone"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_gives_its_command_and_a_configuration(path):
    config, text = CONFIGS[path.stem], load(path).__doc__
    if isinstance(config, Training):
        assert f"python train.py --config configs/{path.name}\n" in text
        assert config.name == path.stem
    else:
        assert f"python evaluate.py --tracker configs/{path.name}" in text
        assert trackers.name_of(config)


@pytest.mark.parametrize("name", TRAININGS)
def test_what_a_training_names_exists_and_fits(name):
    config = TRAININGS[name]
    recipe = loop.make_recipe(config)
    assert recipe.architecture is siamese.ARCHITECTURES[config.architecture]
    parts = parts_of_backbone(config.architecture)
    assert set(config.optimiser.trained_backbone) <= parts
    if not config.start:  # what is drawn at random must be trained
        assert set(config.optimiser.trained_backbone) == parts


def test_the_small_network_has_an_ablation():
    assert "siamban_nano" in FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_the_trainings_of_an_ablation_differ_in_their_rankings_alone(family):
    unranked = dict.fromkeys(RANKING, 0.0)
    same = set()
    for suffix, weights in ABLATION.items():
        config = TRAININGS[family + suffix]
        assert tuple(getattr(config.objective, name) for name in RANKING) == weights
        same.add(
            repr(dataclasses.replace(config, name="same", objective=dataclasses.replace(config.objective, **unranked)))
        )
    assert len(same) == 1


@pytest.mark.parametrize("family", TRANSTS)
def test_a_transt_with_ranking_losses_differs_from_one_without_in_these_alone(family):
    plain, ranked = TRAININGS[family], TRAININGS[f"{family}_rbo"]
    objective = dataclasses.replace(ranked.objective, classification_ranking=0.0, iou_ranking=0.0)
    assert (ranked.objective.classification_ranking, ranked.objective.iou_ranking) == (0.5, 0.25)
    assert dataclasses.replace(ranked, name=plain.name, objective=objective) == plain


def test_transt_is_trained_in_full_on_got10k_alone_and_small():
    assert TRANSTS == ["transt_full", "transt_got10k", "transt_nano"]


@pytest.mark.parametrize("name", ["transt_full", "transt_got10k"])
def test_transts_training_is_the_references(name):
    """siamese.md 10.2."""
    config = TRAININGS[name]
    assert (config.objective.cls, config.objective.loc, config.objective.giou) == (8.334, 5, 2)
    assert config.objective.background == 0.0625
    assert (config.batch, config.steps_per_epoch, config.normalisation, config.sync_norm) == (38, 1000, "mean", False)
    rates = epoch_rates(config.optimiser, config.epochs)
    assert rates == [1e-4] * 500 + [1e-5] * 500
    assert (config.optimiser.method, config.optimiser.weight_decay, config.optimiser.clip) == ("adamw", 1e-4, 0)
    assert (config.optimiser.backbone_factor, config.optimiser.frozen_epochs) == (0.1, 0)
    assert set(config.optimiser.trained_backbone) == parts_of_backbone("transt")  # nothing is frozen
    assert (config.start, config.labels.cut) == ("resnet50_plain", False)
    assert (config.source.sampling.negative, config.source.sampling.gray) == (0, 0.05)
    crops = config.source.crops
    assert (crops.template_factor, crops.search_factor, crops.size_jitter, crops.shift_jitter) == (2, 4, 0.25, 3)
    assert crops.brightness == 0.2


def test_transts_datasets_are_equally_likely_and_none_is_cut_to_a_part_of_itself():
    """siamese.md 10.2. Most entries has COCO's train2014, 82,783 images; a pair is twice the same one."""
    source = TRAININGS["transt_full"].source
    uses = {use.dataset: (use.frame_range, use.num_use) for use in source.sampling.uses}
    assert uses.keys() == {"lasot", "got10k", "coco", "trackingnet"}
    assert {name: reach for name, (reach, _) in uses.items()} == {name: 0 if name == "coco" else 100 for name in uses}
    [count] = {count for _, count in uses.values()}
    assert count > 82_783
    assert [folder.as_posix() for folder in source.folders] == [
        "data/lasot/train",
        "data/got10k/train",
        "data/coco/train2014",
        "data/trackingnet/train",
    ]


@pytest.mark.parametrize("name", [name for name in TRAININGS if name.endswith("_rbo_paper")])
def test_what_is_trained_as_printed_differs_in_the_objective_alone(name):
    printed, released = TRAININGS[name], TRAININGS[name.removesuffix("_paper")]
    assert (printed.objective.variant, released.objective.variant) == ("paper", "released")
    assert (printed.objective.gamma, printed.objective.smooth_l1) == (3, True)
    assert dataclasses.replace(printed, name="same", objective=released.objective) == dataclasses.replace(
        released, name="same"
    )


# siamese.md 6.5, 5.2, 5.5 and 6.2: pairs a device, devices, steps of an epoch, weight of boxes, gamma, datasets.
REFERENCES = {
    "siamrpn_full": (32, 4, 6250, 1.2, 3, ["vid", "youtubebb", "coco", "det", "got10k"]),
    "siamrpn_got10k": (32, 4, 4687, 1.2, 5, ["got10k"]),
    "siamban_full": (28, 3, 11904, 1.0, 3, ["vid", "youtubebb", "coco", "det", "got10k", "lasot"]),
    "siamban_got10k": (28, 3, 7142, 1.0, 3, ["got10k"]),
    "siampw_full": (28, 4, 8928, 1.0, 5, ["vid", "youtubebb", "coco", "det", "got10k", "lasot"]),
    "siampw_got10k": (28, 4, 5357, 1.0, 5, ["got10k"]),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_siamese_trainings_are_the_references(name):
    config, (share, devices, steps, loc, gamma, datasets) = TRAININGS[f"{name}_rbo"], REFERENCES[name]
    assert (config.batch, config.reference_devices) == (share * devices, devices)
    assert (config.epochs, config.steps_per_epoch, config.seed) == (20, steps, 123456)
    assert (config.normalisation, config.sync_norm, config.start) == ("per_device", False, "resnet50")
    assert (config.objective.variant, config.objective.cls, config.objective.loc) == ("released", 1, loc)
    assert config.objective.gamma == gamma
    assert [use.dataset for use in config.source.sampling.uses] == datasets
    split = "all" if name.endswith("got10k") else "train"
    assert [folder.as_posix() for folder in config.source.folders] == [f"data/{name}/{split}" for name in datasets]
    assert config.source.sampling.use_of("got10k").num_use == 200_000


def test_what_the_references_train_of_a_network_and_label_of_an_image():
    """siamese.md 1.5, 4.2, 4.4 and 5.1."""
    rpn, ban, pw = (TRAININGS[f"{name}_full_rbo"] for name in ("siamrpn", "siamban", "siampw"))
    assert ban.optimiser == rpn.optimiser == Optimiser()
    assert ban.optimiser.trained_backbone == ("layer2", "layer3", "layer4")
    assert pw.optimiser == dataclasses.replace(Optimiser(), trained_backbone=("layer2", "layer3"))
    assert (ban.optimiser.frozen_epochs, ban.optimiser.last_rate, ban.optimiser.clip) == (10, 5e-5, 10)
    assert (rpn.labels, rpn.objective.pooled_negatives) == (AnchorLabels(keep_all_negatives=True), 48)
    assert (ban.labels, ban.objective.pooled_negatives) == (EllipseLabels(), None)
    assert (pw.labels, pw.objective.pooled_negatives) == (EllipseLabels(negative_pair_cap=None), None)


@pytest.mark.parametrize("name", [f for f in TRAININGS if ("_full" in f or "_got10k" in f) and "siam" in f])
def test_the_references_candidates_for_evaluation_are_kept(name):
    """The checkpoints after each of the epochs 10 to 20."""
    config = TRAININGS[name]
    assert sorted(config.kept_steps) == [epoch * config.steps_per_epoch for epoch in range(10, 21)]


def test_small_trainings_keep_no_epochs():
    assert not TRAININGS["siamban_nano"].kept_steps


@pytest.mark.parametrize("name", DOMAINS)
def test_multi_domain_trainings_are_mdnets_or_ranklocs_and_what_they_name_exists(name):
    config = DOMAINS[name]
    assert loop.make_recipe(config).architecture is mdnet.ARCHITECTURES[config.architecture]
    samples = (config.batch * config.sampling.positives, config.batch * config.sampling.negatives)
    ranked = name.startswith("rankloc")
    assert samples == ((32, 32) if ranked else (32, 96))
    assert bool(config.loss.ranking) == (config.location != "none") == ranked
    assert config.epochs == (30 if name.endswith("_procedural") else 200 if ranked else 100)
    parts = mdnet.shapes(mdnet.ARCHITECTURES[config.architecture])["params"]["backbone"]
    assert set(config.optimiser.trained_backbone) == set(parts)


def test_an_epoch_of_a_multi_domain_training_is_a_cycle():
    assert {config.steps_per_epoch for name, config in DOMAINS.items() if "vot58" in name} == {58}
    rendered = [config for name, config in DOMAINS.items() if "procedural" in name]
    assert len(rendered) == 2
    assert {config.steps_per_epoch for config in rendered} == {len(presets.MDNET.source)}


def test_rendered_negatives_lie_where_a_trackers_candidates_do():
    search = trackers.default_config("mdnet").framework.search
    for name in ("mdnet_procedural", "rankloc_procedural"):
        assert DOMAINS[name].sampling.negative_translation == search.translation
    assert DOMAINS["mdnet_vot58"].sampling.negative_translation == 2.0  # MDNet's


def test_mdnet_is_trained_on_every_backbone_from_the_weights_that_it_takes():
    files = {row.import_as: row.architecture for row in known.online()}
    for name in BACKBONES:
        config = DOMAINS[f"mdnet_{name}_vot58"]
        assert config.architecture == f"mdnet_{name}"
        assert files[config.start] in loop.make_recipe(config).backbones
        same = dataclasses.replace(config, name="mdnet_vot58", architecture="mdnet_vggm", start="vgg_m")
        optimiser = dataclasses.replace(config.optimiser, trained_backbone=("conv1", "conv2", "conv3"))
        assert dataclasses.replace(same, optimiser=optimiser) == DOMAINS["mdnet_vot58"]


def test_rates_are_those_of_the_papers():
    """MDNet: 1e-4 for convolutions and 1e-3 for the rest; RankLoc: 2e-4 for all (specification 2.6, R11)."""
    for name, rates in (("mdnet_vot58", (1e-4, 1e-3)), ("rankloc_vot58", (2e-4, 2e-4))):
        sgd = DOMAINS[name].optimiser
        for epoch in (0, 50, 99):
            rate = epoch_rates(sgd, 100)[epoch]
            assert (rate * sgd.backbone_factor, rate) == pytest.approx(rates)
        assert (sgd.method, sgd.momentum, sgd.weight_decay, sgd.clip) == ("sgd", 0.9, 5e-4, 10)


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if isinstance(config, DetectionConfig)])
def test_trainings_of_proposals_train_all_layers_and_are_measured_on_other_images(name):
    config = CONFIGS[name]
    assert set(config.optimiser.trained_backbone) == set(loop.make_recipe(config).shapes()["params"]["backbone"])
    assert config.best == "recall"
    assert config.labels == Labels()


def test_a_small_student_learns_from_the_small_network_of_proposals():
    student, teacher = CONFIGS["rpn2t_small_student"], CONFIGS["rpn_small_procedural"]
    assert student.start == f"runs/{teacher.name}/{teacher.name}.safetensors"
    assert teacher.architecture in loop.make_recipe(student).backbones
    assert {"rpn2t_teacher", "zf_rpn"} == set(loop.make_recipe(CONFIGS["rpn2t_student"]).backbones)


def test_the_smoke_run_is_short():
    assert TRAININGS["smoke"].steps <= 20
    assert TRAININGS["smoke"].architecture == "siamban_pico"
