import dataclasses
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from dataset_folders import prepared_got10k, write_got10k, write_lines

from jaxtrack.data.preparation import Preparation, crops, prepare, runner
from jaxtrack.data.preparation import index as indexing
from jaxtrack.data.preparation.registry import DATASETS
from jaxtrack.errors import UserError


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setitem(DATASETS, "got10k", dataclasses.replace(DATASETS["got10k"], videos_per_shard=1))


@pytest.fixture
def config(tmp_path, small_shards):
    """Three videos of 2, 3 and 1 frames, of which the second one's last is dropped."""
    source = write_got10k(tmp_path / "source", [2, 3, 1])
    write_lines(source / "train" / "GOT-10k_Train_000002" / "groundtruth.txt", ["1,2,3,4", "1,2,3,4", "1,2,0,4"])
    return Preparation("GOT-10k", source, tmp_path / "out")


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".npz"}


def test_a_prepared_dataset_has_records_an_index_a_report_and_no_parts(config):
    summary = prepare(config)
    assert (summary.videos, summary.tracks, summary.frames, summary.reused) == (3, 3, 5, 0)
    assert summary.dropped == {"no width or height": 1}
    assert summary.folder == config.out / "got10k" / "train"
    shard = "got10k-train.array_record-0000{}-of-00003"
    expected = [shard.format(i) for i in range(3)] + ["dataset_info.json", "features.json", "plan.json", "report.json"]
    assert sorted(path.name for path in summary.folder.iterdir()) == sorted([*expected, "index.npz"])
    report = json.loads((summary.folder / "report.json").read_text())
    assert report["dropped"] == {"no width or height": 1}
    assert report["examples"]["no width or height"][0].endswith("GOT-10k_Train_000002/00000003.jpg, track 00")
    index = indexing.load(summary.folder / "index.npz")
    assert index.videos.tolist() == [f"GOT-10k_Train_00000{i}" for i in (1, 2, 3)]
    assert index.frames.tolist() == [0, 1, 0, 1, 0]
    assert index.sizes[:2].tolist() == [[20, 10], [20, 11]]


def test_tfds_reads_a_prepared_dataset_by_itself(config):
    import tensorflow_datasets as tfds

    folder = prepare(config).folder
    source = tfds.builder_from_directory(folder).as_data_source("train", decoders={"image": tfds.decode.SkipDecoding()})
    assert len(source) == 5
    assert (source[1]["video"], source[1]["track"], source[1]["frame"]) == (b"GOT-10k_Train_000001", b"00", 1)
    np.testing.assert_array_equal(source[1]["size"], [20, 11])
    image = crops.read_image(config.data_dir / "train" / "GOT-10k_Train_000001" / "00000002.jpg")
    assert source[1]["image"] == crops.encode(crops.crop(image, (11, 12, 31, 23)))


def test_progress_counts_videos(config):
    heard = []
    prepare(config, lambda done, total: heard.append((done, total)))
    assert heard == [(1, 3), (2, 3), (3, 3), (3, 3)]


def test_several_processes_write_the_same_files(config, tmp_path):
    alone = prepare(config)
    heard = []
    parallel = prepare(
        dataclasses.replace(config, out=tmp_path / "parallel", workers=2), lambda done, total: heard.append(done)
    )
    assert content(parallel.folder) == content(alone.folder)
    assert parallel.dropped == alone.dropped
    assert heard[-2:] == [3, 3]  # the last count of the processes, and the end


def test_a_second_call_only_says_what_is_there(config):
    first = prepare(config)
    before = content(first.folder)
    second = prepare(config)
    assert (second.frames, second.dropped, second.reused) == (first.frames, first.dropped, 3)
    assert content(first.folder) == before


def interrupted_after(monkeypatch, crops_made):
    """The given number of crops can be made; then Ctrl-C is pressed."""
    encode, made = crops.encode, []

    def count(image):
        if len(made) == crops_made:
            raise KeyboardInterrupt
        made.append(1)
        return encode(image)

    monkeypatch.setattr(crops, "encode", count)


def test_an_interrupted_call_goes_on_after_the_last_finished_shard(config, tmp_path, monkeypatch):
    whole = content(prepare(dataclasses.replace(config, out=tmp_path / "whole")).folder)
    with monkeypatch.context() as patch:
        interrupted_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            prepare(config)
    folder = config.out / "got10k" / "train"
    assert sorted(path.name for path in folder.iterdir()) == [
        "got10k-train.array_record-00000-of-00003",
        "parts",
        "plan.json",
    ]
    with monkeypatch.context() as patch:
        interrupted_after(patch, 3)  # 2 of the second video and 1 of the third: the first one's 2 are there
        assert prepare(config).reused == 1
    assert content(folder) == whole


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("jaxtrack.data.preparation.shards._Records.add", RuntimeError("write() failed: No space left on device")),
        ("numpy.savez", OSError(28, "No space left on device")),
        ("tensorflow_datasets.folder_dataset.write_metadata", OSError(28, "No space left on device")),
    ],
)
def test_a_full_disk_is_a_sentence_and_the_same_command_goes_on(config, monkeypatch, where, error):
    """ArrayRecord's errors are its own; those of `write` name no file."""

    def full(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(UserError, match=r"train could not be written \(.*No space left on device.*\): make room"):
            prepare(config)
    assert prepare(config).frames == 5


KILLED = """
import dataclasses, sys, time
from pathlib import Path
from jaxtrack.data.preparation import Preparation, crops, prepare
from jaxtrack.data.preparation.registry import DATASETS
DATASETS["got10k"] = dataclasses.replace(DATASETS["got10k"], videos_per_shard=1)
encode, made = crops.encode, []
def slow(image):
    made.append(1)
    if len(made) == 4:
        print("in the second shard", flush=True)
        time.sleep(60)
    return encode(image)
crops.encode = slow
prepare(Preparation("got10k", Path(sys.argv[1]), Path(sys.argv[2])))
"""


def test_a_killed_process_leaves_nothing_that_is_taken_for_whole(config, tmp_path):
    whole = content(prepare(dataclasses.replace(config, out=tmp_path / "whole")).folder)
    command = [sys.executable, "-c", KILLED, str(config.data_dir), str(config.out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the second shard\n"
        process.send_signal(signal.SIGKILL)
    folder = config.out / "got10k" / "train"
    assert [path.name for path in folder.iterdir() if path.suffix == ".tmp"]
    assert prepare(config).reused == 1
    assert content(folder) == whole


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda config: dataclasses.replace(config, visible_only=True), "visible only"),
        (
            lambda config: write_got10k(config.data_dir, [1], start=9) and config,
            "number of videos, sha256 of the names",
        ),
    ],
)
def test_another_plan_in_the_same_folder_is_refused(config, change, what):
    prepare(config)
    with pytest.raises(UserError, match=f"out/got10k/train was begun with another {what}: remove it, or prepare into"):
        prepare(change(config))


def test_a_plan_of_another_version_or_none_at_all_is_refused(config, monkeypatch):
    plan = prepare(config).folder / "plan.json"
    monkeypatch.setattr(runner, "FORMAT", "2.0.0")
    with pytest.raises(UserError, match="was begun with another format: remove it"):
        prepare(config)
    plan.write_text("no plan")
    with pytest.raises(UserError, match=r"plan\.json is damaged: remove .*train and prepare again"):
        prepare(config)


def test_a_dataset_of_which_nothing_is_left_is_refused_with_the_report(config):
    for number in (1, 2, 3):
        folder = config.data_dir / "train" / f"GOT-10k_Train_{number:06d}"
        for image in folder.glob("*.jpg"):
            image.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"every frame of got10k was dropped; .*report\.json says why"):
        prepare(config)
    report = json.loads((config.out / "got10k" / "train" / "report.json").read_text())
    assert report["dropped"] == {"unreadable image": 5, "no width or height": 1}
    assert not (config.out / "got10k" / "train" / "index.npz").exists()


def test_a_negative_number_of_workers_is_refused(config):
    with pytest.raises(UserError, match="the number of workers must be at least 0, not -1"):
        prepare(dataclasses.replace(config, workers=-1))


def kill_yourself(shard):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_a_sentence(config, monkeypatch):
    monkeypatch.setattr(runner, "_work", kill_yourself)
    with pytest.raises(UserError, match=r"a process that makes crops was killed, .* the same command goes on"):
        prepare(dataclasses.replace(config, workers=1))


NO_TENSORFLOW = """
import sys
from pathlib import Path
from jaxtrack.data.preparation import Preparation, prepare
from jaxtrack.data.pairs import DiskPairs
folder = prepare(Preparation("got10k", Path(sys.argv[1]), Path(sys.argv[2]))).folder
next(DiskPairs([folder]).batches(seed=0, global_batch=2))
print("tensorflow" in sys.modules)
"""


def test_nothing_imports_tensorflow_even_where_it_is_installed(config, tmp_path):
    write_lines(tmp_path / "tensorflow" / "__init__.py", ["raise SystemExit('TensorFlow was imported')"])
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", NO_TENSORFLOW, str(config.data_dir), str(config.out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


def test_looking_through_the_package_costs_no_slow_imports():
    code = (
        "import sys; from jaxtrack.data import benchmarks; benchmarks.names(); "
        "import jaxtrack.data.pairs, jaxtrack.data.preparation.beam; "
        "print({'tensorflow_datasets', 'grain', 'apache_beam', 'array_record'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_videos_per_shard_are_kept_together(tmp_path):
    folder = prepared_got10k(tmp_path, [1, 2, 3])
    assert indexing.load(folder / "index.npz").shard_records.tolist() == [3, 3]
