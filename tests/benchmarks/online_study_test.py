"""What the study of trackers that learn online runs, what of it is finished, and what its tables say."""

import dataclasses
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import online_arms
import online_study
import pytest
from online_arms import FIVE, Arm, Group, Weights, groups
from online_study import Cost, Options

from jaxtrack import UserError, trackers
from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.evaluation import store
from jaxtrack.evaluation.run_record import Run
from jaxtrack.models.mdnet import ARCHITECTURES as MDNETS
from jaxtrack.models.rpn2t import ARCHITECTURES as RPN2TS
from jaxtrack.trackers import mdnet, rpn2t

FULL, REDUCED = groups(Weights()), groups(Weights(), reduced=True)

LOSSES = {arm.name for group in FULL if group.name == "losses" for arm in group.arms}


def arms(wanted):
    return {(group.title, arm.name): arm for group in wanted for arm in group.arms}


def seeds(wanted, name):
    return {arm.seeds for (_, found), arm in arms(wanted).items() if found == name}


# --- what is run ---------------------------------------------------------------------------------------------------


def test_both_trackers_are_run_once_on_all_13_targets():
    assert len(set(FULL[0].targets)) == 13
    assert [(arm.name, arm.seeds) for arm in FULL[0].arms] == [("mdnet", 1), ("rankloc", 1)]
    assert FULL[0].frames is None


def test_ablations_are_run_on_five_targets_ranklocs_with_three_seeds():
    for group in FULL[1:-1]:
        assert (group.targets, group.frames) == (FIVE, None)
    for name in ("rankloc_no_ranking", "rankloc_no_location"):
        assert seeds(FULL, name) == {3}
    names = {name for _, name in arms(FULL)}
    assert {"mdnet_random", "rpn2t", "rpn2t_mask_only", "rpn2t_all_positions", "rpn2t_teacher_half"} <= names
    assert {f"mdnet_{name}_random" for name in ("alexnet", "zf", "vgg16", "vgg19")} <= names
    for name in names - {"rankloc", "rankloc_no_ranking", "rankloc_no_location"}:
        assert seeds(FULL, name) == {1}, name


def test_the_teacher_is_run_on_two_clips_of_50_frames():
    [group] = [group for group in FULL if "rpn2t_teacher" in [arm.name for arm in group.arms]]
    assert (len(group.targets), group.frames) == (2, 50)


def test_thresholds_change_the_mask_and_nothing_else():
    found = {arm.name: arm.config for arm in arms(FULL).values()}
    for name, base in (("rpn2t", rpn2t.CONFIGS["rpn2t"]), ("rpn2t_mask_only", rpn2t.CONFIGS["rpn2t_mask_only"])):
        for threshold in (0.5, 0.6, 0.9):
            config = found[f"{name}_{100 * threshold:.0f}"]
            assert config.loss == dataclasses.replace(base.loss, threshold=threshold)
            assert dataclasses.replace(config, loss=base.loss) == base
    masks = [RPN2TS["rpn2t_student"].mask(threshold) for threshold in (0.7, 0.8)]
    np.testing.assert_array_equal(*masks)  # so that 0.8 need not be run


def test_what_the_papers_leave_open_is_run_too():
    """mdnet_family.md: R2 names the margins, R16 and P6 want box regression on and off."""
    found = {group.name: group for group in FULL}
    base = mdnet.CONFIGS["rankloc"]
    margins = {arm.config.loss.margin: arm.config for arm in found["margins"].arms}
    assert margins.keys() == {None, 0.05, 0.3, 1.0}
    for margin, config in margins.items():
        assert config == dataclasses.replace(base, loss=dataclasses.replace(base.loss, margin=margin))
    for name in ("boxes", "student_boxes"):
        on, off = (arm.config.framework for arm in found[name].arms)
        assert (on.regression.samples, off.regression.samples) == (1000, 0)
        assert dataclasses.replace(off, regression=on.regression) == on
    assert [found[name].arms[0].name for name in ("margins", "boxes", "student_boxes")] == ["rankloc"] * 2 + ["rpn2t"]


def test_backbones_are_compared_with_random_weights():
    for arm in arms(FULL).values():
        if arm.name.endswith("_random"):
            assert arm.config.weights == "random"
            assert arm.config.architecture in MDNETS


def test_a_name_is_one_configuration_in_all_tables():
    for wanted in (FULL, REDUCED):
        configs = {}
        for arm in arms(wanted).values():
            assert configs.setdefault(arm.name, arm.config) == arm.config
            assert type(arm.config) is type(trackers.default_config(arm.tracker))


def test_the_reduced_study_is_a_part_of_the_other_without_what_takes_longest():
    assert {name for _, name in arms(REDUCED)} < {name for _, name in arms(FULL)}
    assert not any("vgg" in name for _, name in arms(REDUCED))
    for group in REDUCED:
        slow = any(isinstance(arm.config, rpn2t.Config) for arm in group.arms)
        assert (len(group.targets), group.frames) == ((1, 15) if slow else (2, None))
    assert {arm.seeds for arm in arms(REDUCED).values()} == {1}


def test_tables_are_chosen_by_their_names():
    assert [group.name for group in groups(Weights(), only=("half", "trackers"))] == ["trackers", "half"]
    with pytest.raises(UserError, match=r"^no table parts_of: there are trackers, parts, backbones, losses, half, mar"):
        groups(Weights(), only=("parts_of",))


def test_the_narrow_trackers_lose_the_same_parts_as_the_others():
    small = arms(groups(Weights(), small=True, only=("trackers", "parts")))
    base = mdnet.CONFIGS["rankloc_small"]
    found = {name: arm.config for (_, name), arm in small.items()}
    assert found == {
        "mdnet_small": mdnet.CONFIGS["mdnet_small"],
        "rankloc_small": base,
        "rankloc_small_no_ranking": dataclasses.replace(base, loss=mdnet.Ranking(ranking=0.0)),
        "rankloc_small_no_location": dataclasses.replace(base, location="none"),
        "mdnet_small_random": dataclasses.replace(mdnet.CONFIGS["mdnet_small"], weights="random"),
    }
    whole = {name: arm.config for (_, name), arm in arms(FULL).items()}
    for name in ("rankloc_no_ranking", "rankloc_no_location", "mdnet_random"):
        assert whole[name] == mdnet.CONFIGS[name]


def test_the_narrow_student_and_teacher_are_compared_as_the_others_are():
    wanted = {group.name: group for group in groups(Weights(), small=True, only=("losses", "half", "teacher"))}
    small = rpn2t.CONFIGS["rpn2t_small"]
    losses = {arm.name: arm.config for arm in wanted["losses"].arms}
    assert losses["rpn2t_small"] == small
    assert losses["rpn2t_small_mask_only"] == dataclasses.replace(small, loss=rpn2t.Loss(beta=0.0))
    assert losses["rpn2t_small_all_positions"] == dataclasses.replace(small, loss=rpn2t.Loss(alpha=0.0))
    assert set(losses) == {name.replace("rpn2t", "rpn2t_small") for _, name in arms(FULL) if name in LOSSES}
    teacher, student, half = (arm.config for arm in wanted["teacher"].arms)
    assert (teacher, student) == (rpn2t.CONFIGS["rpn2t_small_teacher"], small)
    assert half.architecture == "rpn2t_small_teacher_half"
    assert half.weights == teacher.architecture, "it has no weights of its own"


# --- weights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "expected"), [("rpn2t_small_teacher", "rpn2t_small_teacher"), ("zf_rpn", "rpn2t_teacher")]
)
def test_other_weights_bring_their_network(monkeypatch, architecture, expected):
    meta = SimpleNamespace(architecture=architecture)
    monkeypatch.setattr(online_arms.places, "locate", lambda name: name)
    monkeypatch.setattr(online_arms.store, "read_meta", lambda path: meta)
    _, teacher, half = online_arms._rpn2t(Weights(teacher="mine"))
    assert (teacher.config.architecture, teacher.config.weights) == (expected, "mine")
    assert (half.config.architecture, half.config.weights) == (f"{expected}_half", "mine")
    assert half.config.architecture in RPN2TS


def test_without_other_weights_a_tracker_has_its_own():
    assert online_arms.with_weights(mdnet.CONFIGS["rankloc"], "") == mdnet.CONFIGS["rankloc"]
    _, teacher, half = online_arms._rpn2t(Weights())
    assert teacher.config == rpn2t.CONFIGS["rpn2t_teacher"]
    assert half.config == rpn2t.CONFIGS["rpn2t_teacher_half"]


def test_all_missing_weights_are_named_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXTRACK_WEIGHTS", str(tmp_path))
    wanted = [group for group in groups(Weights(mdnet="random", rankloc="random")) if group.title.startswith("RPN2T")]
    with pytest.raises(UserError, match="no weights rpn2t_student for rpn2t, rpn2t_teacher for rpn2t_teacher: "):
        online_study.check(wanted)


# --- targets -------------------------------------------------------------------------------------------------------


def sequence(name="a", length=6):
    frames = [np.full((4, 4, 3), number, np.uint8) for number in range(length)]
    truth = np.tile([10.0, 10.0, 20.0, 10.0], (length, 1))
    return Sequence(name, frames, truth, np.ones(length, bool), frozenset({"OCC"}))


def test_clips_are_no_results_of_whole_sequences(monkeypatch, tmp_path):
    whole = Benchmark("otb100", "OTB-100", [sequence("a"), sequence("b", 3)])
    monkeypatch.setattr(online_study.benchmarks, "load", lambda *_: whole)
    group = Group("x", "x", ("a", "b"), (), frames=4)
    clips = online_study.benchmark_of(group, tmp_path)
    assert (clips.name, [len(each) for each in clips.sequences]) == ("otb100-first-4", [4, 3])
    assert online_study.benchmark_of(dataclasses.replace(group, frames=None), tmp_path) is whole


# --- tables --------------------------------------------------------------------------------------------------------

ARM = Arm("floor", "mdnet_random", mdnet.CONFIGS["mdnet_random"], seeds=2)
BENCHMARK = Benchmark("otb100", "OTB-100", [sequence("a"), sequence("b")])


def put(results, seed, name, side, ms, config=ARM.config):
    """A stored track whose boxes are `side` times as long and as high as the truth, about the same centre."""
    opened = store.open_run(results, "otb100", Run(ARM.name, config, seed), environment={})
    width, height = 20 * side, 10 * side
    boxes = np.tile([20 - width / 2, 15 - height / 2, width, height], (6, 1))
    boxes[0] = 10, 10, 20, 10
    opened.write(name, boxes, np.asarray([9.0, *[ms / 1e3] * 5]), {})


def row(results):
    return online_study.row_of(ARM.name, BENCHMARK, online_study.stored_runs(ARM, BENCHMARK, results), ARM.seeds)


def test_a_row_has_mean_and_deviation_over_the_seeds_and_the_first_frame_is_no_speed(tmp_path):
    for seed, side, ms in ((0, 1.0, 100), (1, 1.25, 140)):
        for name in ("a", "b"):
            put(tmp_path, seed, name, side, ms)
    found = row(tmp_path)
    # Overlaps are 1, and 1 / 1.25^2 = 0.64 in five of six frames: 13 of the 21 thresholds lie below it, 20 below 1.
    auc = [20 / 21, (5 * 13 + 20) / 6 / 21]
    assert found.auc.mean == pytest.approx(np.mean(auc), abs=1e-6)
    assert found.auc.std == pytest.approx(np.std(auc, ddof=1), abs=1e-6)
    assert found.precision.mean == 1
    assert (found.size.mean, found.size.std) == pytest.approx((1.125, 0.25 / math.sqrt(2)))
    assert (found.ms.mean, found.ms.std) == pytest.approx((120, 40 / math.sqrt(2)))
    assert found.cells()[:2] == ["floor", "2"]
    assert found.cells()[-2:] == ["1.125 ± 0.177", "120 ± 28"]


def test_a_row_that_is_not_finished_says_so(tmp_path):
    assert row(tmp_path / "none").cells() == ["floor", "0 of 4 tracks", "-", "-", "-", "-"]
    put(tmp_path, 0, "a", 1.0, 100)
    assert row(tmp_path).cells()[1] == "1 of 4 tracks"
    assert row(tmp_path).auc.mean == pytest.approx(20 / 21)
    put(tmp_path, 0, "b", 1.0, 100)
    put(tmp_path, 1, "b", 1.0, 100)
    assert row(tmp_path).cells()[1] == "3 of 4 tracks"


def test_results_of_other_constants_and_further_seeds_are_not_in_the_table(tmp_path):
    other = dataclasses.replace(ARM.config, location="normalised")
    put(tmp_path, 0, "a", 2.0, 100, config=other)
    put(tmp_path, 5, "a", 2.0, 100)
    assert online_study.stored_runs(ARM, BENCHMARK, tmp_path) == []


def test_the_size_is_the_median_of_annotated_frames_after_the_first():
    truth = np.tile([0.0, 0.0, 10.0, 10.0], (5, 1))
    boxes = truth.copy()
    boxes[:, 2:] *= np.asarray([9.0, 1.0, 2.0, 6.0, 4.0])[:, None]
    valid = np.asarray([True, True, True, True, False])
    assert online_study.size_ratio(boxes, truth, valid) == 2
    assert math.isnan(online_study.size_ratio(boxes, truth, np.zeros(5, bool)))


def test_what_is_stored_is_printed_and_not_run(monkeypatch, tmp_path, capsys):
    group = Group("a", "A title", ("a", "b"), (ARM,))
    monkeypatch.setattr(online_study, "groups", lambda *_, **__: (group,))
    monkeypatch.setattr(online_study, "benchmark_of", lambda group, folder: BENCHMARK)
    for seed in (0, 1):
        for name in ("a", "b"):
            put(tmp_path / "results", seed, name, 1.0, 100)
    online_study.run(Options(tmp_path, tmp_path))  # a tracker would refuse images of 4 x 4 pixels
    printed = capsys.readouterr().out
    assert "A title: a, b (12 frames)" in printed
    assert printed.splitlines()[-1] == "| floor | 2 | 0.952 ± 0.000 | 1.000 ± 0.000 | 1.000 ± 0.000 | 100 ± 0 |"


def test_tables_are_printed_without_the_weights_of_some_trackers(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("JAXTRACK_WEIGHTS", str(tmp_path))
    published = Arm("mdnet", "mdnet", mdnet.CONFIGS["mdnet"])
    monkeypatch.setattr(online_study, "groups", lambda *_, **__: (Group("a", "A title", ("a",), (published, ARM)),))
    monkeypatch.setattr(online_study, "benchmark_of", lambda group, folder: BENCHMARK)
    put(tmp_path / "results", 0, "a", 1.0, 100)
    with pytest.raises(UserError, match="there are no weights mdnet for mdnet"):
        online_study.run(Options(tmp_path, tmp_path))
    online_study.run(Options(tmp_path, tmp_path, tables=True))
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "| mdnet | 0 of 2 tracks | - | - | - | - |",
        "| floor | 1 of 4 tracks | 0.952 | 1.000 | 1.000 | 100 |",
    ]


# --- hours ---------------------------------------------------------------------------------------------------------


def test_a_track_costs_its_start_and_its_frames_and_some_updates():
    cost = Cost(compiling=30, start=20, frame=1, update=3, interval=10)
    # Two tracks of 11 and 21 frames: 10 and 20 later frames of 1 + 2 / 10 seconds.
    assert cost.seconds([11, 21]) == pytest.approx(30 + 2 * 20 + 30 * 1.2)
    # Noise in the measurement makes no frame cheaper.
    assert dataclasses.replace(cost, update=0.9).seconds([11]) == pytest.approx(30 + 20 + 10)


def test_what_stands_in_two_tables_is_counted_once(monkeypatch, capsys, tmp_path):
    one, two = (
        Group("x", "x", ("a", "b"), (ARM,)),
        Group("y", "y", ("a",), (ARM, dataclasses.replace(ARM, name="more"))),
    )
    monkeypatch.setattr(online_study, "groups", lambda *_, **__: (one, two))
    monkeypatch.setattr(online_study.benchmarks, "load", lambda *_: BENCHMARK)
    monkeypatch.setattr(online_study, "measure", lambda arm: Cost(0, 90, 18, 18, 10))
    online_study.print_hours(Options(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    # Each track has 5 later frames: 90 + 5 * 18 = 180 s; 4 of the first arm and 2 of the other.
    assert [line.split(" | ")[-3:] for line in lines[2:-2]] == [["4", "24", "0.20 |"], ["2", "12", "0.10 |"]]
    assert lines[-1] == "all of it: 0.3 hours"


def test_with_certain_scores_an_update_comes_only_when_it_is_due():
    head = {"fc5": {"bias": jnp.zeros(2)}, "fc6": {"kernel": jnp.ones((1, 2, 2)), "bias": jnp.zeros((1, 2))}}

    @dataclasses.dataclass
    class State:
        head: dict

    found = online_study.certain(mdnet.CONFIGS["mdnet"], State(head)).head
    assert found["fc6"]["bias"].tolist() == [[0, 1e6]]
    np.testing.assert_array_equal(found["fc5"]["bias"], 0)
    assert jax.tree.structure(found) == jax.tree.structure(head)
