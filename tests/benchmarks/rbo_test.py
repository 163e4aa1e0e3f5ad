"""The ablation of the ranking losses: what counts as finished, and what its tables say."""

import json

import numpy as np
import pytest
import rbo_ablation
import rbo_tables
import scipy.stats
from rbo_ablation import Options

from jaxtrack.models import siamese
from jaxtrack.training.labels import TokenLabels

OURS, BASE = {0: 0.62, 1: 0.60, 2: 0.64}, {0: 0.60, 1: 0.59, 2: 0.60}


def row(arm, seed, **values):
    return {"arm": arm, "seed": seed, "pairs": 3200, **values}


@pytest.fixture
def options(tmp_path):
    """A study of which one arm is finished, on rendered videos alone."""
    options = Options(out=tmp_path, pairs=3200)
    options.folder.mkdir()
    rbo_ablation.result_path(options, "ce", 0).write_text(json.dumps(row("ce", 0, procedural_auc=0.5)))
    return options


def test_what_is_measured_is_not_done_again(options):
    assert rbo_ablation.finished(options, "ce", 0)
    assert not rbo_ablation.finished(options, "ce", 1)


def test_what_was_measured_without_real_targets_is_measured_again_with_them(options, tmp_path):
    assert not rbo_ablation.finished(Options(out=options.out, pairs=3200, data_dir=tmp_path), "ce", 0)


def test_results_of_another_budget_are_refused(options):
    with pytest.raises(SystemExit, match=r"ce_0\.json is of 3200 pairs, not 6400: choose another folder by --out"):
        rbo_ablation.finished(Options(out=options.out, pairs=6400), "ce", 0)


def test_budgets_are_whole_epochs_and_arms_are_known():
    for wrong in ({"pairs": 3300}, {"arms": ("cr", "cs")}):
        with pytest.raises(SystemExit, match="pairs must be a multiple of 3200"):
            Options(**wrong)


def test_no_two_seeds_share_a_pair():
    first = [rbo_ablation.first_pair(seed) for seed in range(3)]
    assert first[0] >= rbo_ablation.WARM_STEPS * rbo_ablation.BATCH
    assert min(np.diff(first)) >= Options().pairs


def test_an_arm_of_transt_has_its_losses_and_labels_and_the_ranking_losses():
    plain, ranking = (rbo_ablation.arm_config(Options(study="transt_nano"), arm, 0, "x") for arm in ("ce", "cr_igr"))
    for config in (plain, ranking):
        assert (config.objective.cls, config.objective.loc, config.objective.giou) == (8.334, 5.0, 2.0)
        assert isinstance(config.labels, TokenLabels)
        assert "stage4" in config.optimiser.trained_backbone
    weights = [(each.objective.classification_ranking, each.objective.iou_ranking) for each in (plain, ranking)]
    assert weights == [(0, 0), (0.5, 0.25)]


@pytest.mark.parametrize("study", ["siamban_pico", "transt_nano"])
def test_a_warm_start_ends_with_the_rate_of_the_arms(study):
    options = Options(study=study)
    warm, arm = rbo_ablation.warm_config(options.network), rbo_ablation.arm_config(options, "ce", 0, "x")
    assert warm.optimiser.rate > warm.optimiser.last_rate == arm.optimiser.rate
    assert warm.architecture == arm.architecture == study


def test_published_weights_are_the_start_of_their_study_and_keep_their_backbone():
    options = Options(study="nanotrack_v1")
    assert rbo_ablation.warm_start(options) == "nanotrack_v1"
    assert rbo_ablation.arm_config(options, "ce", 0, "x").optimiser.trained_backbone == ()


@pytest.mark.parametrize("study", ["siamban_pico", "nanotrack_v1", "transt_nano"])
def test_a_score_lies_over_the_middle_of_its_cell(study):
    """Cells lie about the middle of the search region, 8 or 16 pixels apart."""
    architecture = siamese.ARCHITECTURES[study]
    scores = np.zeros((architecture.score_cells,) * 2, np.float32)
    row, column = 3, architecture.score_cells - 3
    scores[row, column] = 1
    red = rbo_tables.heat(np.zeros((255, 255, 3), np.uint8), scores, architecture.stride_px)[..., 2]
    middle = [127 + (place - (architecture.score_cells - 1) / 2) * architecture.stride_px for place in (row, column)]
    np.testing.assert_allclose(np.argwhere(red > 0).mean(axis=0), middle, atol=1)


def test_differences_are_paired_by_seed_and_their_interval_is_students():
    mean, half = rbo_tables.difference(OURS, BASE)
    expected = scipy.stats.ttest_rel(list(OURS.values()), list(BASE.values())).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((expected.low, expected.high))
    # A seed that only one of them has does not count.
    assert rbo_tables.difference({**OURS, 3: 0.9}, BASE) == (mean, half)
    assert np.isnan(rbo_tables.difference({0: 0.6}, BASE)[1])


@pytest.mark.parametrize(("ours", "bold"), [(OURS, False), ({seed: auc + 0.02 for seed, auc in BASE.items()}, True)])
def test_a_difference_that_the_seeds_can_tell_from_none_is_bold(ours, bold):
    rows = {(arm, seed): {"auc": auc} for arm, values in (("ce", BASE), ("cr", ours)) for seed, auc in values.items()}
    text = rbo_tables.cell(rows, "cr", "auc")
    assert ("**" in text) == bold
    assert text.startswith(f"{np.mean(list(ours.values())):.3f} (")
    assert rbo_tables.cell(rows, "ce", "auc") == "0.597"
    assert rbo_tables.cell(rows, "igr", "auc") == ""


def test_a_table_has_the_arms_that_were_measured_and_no_interval_of_one_seed(capsys):
    rows = {("ce", 0): {"iou": 0.5}, ("cr", 0): {"iou": 0.75}}
    rbo_tables.print_table(rows, {"iou": "IoU", "auc": "AUC"})
    lines = capsys.readouterr().out.split("\n")
    assert lines[0] == "| | seeds | IoU |"
    assert lines[2:] == ["| cross entropy (CE) | 1 | 0.500 |", "| CE + CR | 1 | 0.750 (+0.250) |", "", ""]
