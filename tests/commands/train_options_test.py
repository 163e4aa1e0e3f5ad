"""Options of `train` for devices and processes, and those that there are not."""

import os
import types

import jax
import pytest
from command_line import error_of
from tiny_training import arguments

from jaxtrack.__main__ import main
from jaxtrack.commands import train
from jaxtrack.errors import UserError
from jaxtrack.training import loop
from jaxtrack.training.config import TrainConfig

CLUSTER = ("OMPI_COMM_WORLD_LOCAL_SIZE", "SLURM_NTASKS", "SLURM_STEP_NUM_NODES", "JAX_LOCAL_DEVICE_IDS")


@pytest.fixture
def joined(monkeypatch):
    """What JAX is asked to join, outside any cluster."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *given, **named: calls.append((given, named)))
    for name in CLUSTER:
        monkeypatch.delenv(name, raising=False)
    return calls


def join(coordinator="", processes=None, process=None):
    train._join(train.Options(coordinator=coordinator, processes=processes, process=process))


# --- devices ---------------------------------------------------------------------------------------------------------


def test_cores_become_devices_as_far_as_the_batch_divides(monkeypatch):
    made = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(6), raising=False)
    monkeypatch.setattr(jax.config, "update", lambda *option: made.append(option))
    for wanted, batch in ((0, 32), (0, 9), (0, 7), (5, 32)):
        train._make_cpu_devices(wanted, batch)
    assert made == [("jax_num_cpu_devices", count) for count in (4, 3, 1, 5)]
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "2")
    train._make_cpu_devices(0, 32)
    assert len(made) == 4


def test_devices_cannot_be_made_once_jax_is_in_use(training_file, tmp_path, capsys):
    line = error_of("train", capsys, *arguments(training_file, tmp_path), "--cpu-devices", "2")
    assert "--cpu-devices comes too late: JAX is in use already in this process" in line


def test_gradients_are_summed_over_as_many_devices_as_the_rates_were_made_for(training_file, tmp_path, capsys):
    per_device = ["--set.normalisation", "per_device", "--set.reference-devices", "3"]
    line = error_of("train", capsys, *arguments(training_file, tmp_path), *per_device)
    assert "tiny sums the gradients of 3 devices, as its reference does, and there are 4: " in line
    assert "--set.scale-to-reference multiplies their sum by 3/4, for which its rates are right, --set.ref" in line


def test_what_the_batch_is_shared_out_over_is_said(monkeypatch):
    config = TrainConfig(batch=12)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(7), raising=False)
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    found = "devices: 4 x cpu, each takes 3 of the 12 pairs of a step"
    assert train._devices(train.Options(), config) == f"{found}; a batch of 7 or 14 would use all of the 7 cores"
    assert train._devices(train.Options(cpu_devices=4), config) == found


# --- several processes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [(4, 1), (4, None), (None, 0)])
def test_numbers_of_processes_without_a_coordinator_are_refused(joined, given):
    with pytest.raises(UserError, match="--processes and --process need --coordinator, HOST:PORT of the first process"):
        join("", *given)
    assert not joined


@pytest.mark.parametrize("coordinator", ["node1", "node1:", ":1234", "node1:http", "node1:0", "node1:65536"])
def test_a_coordinator_without_host_or_port_is_refused(joined, coordinator):
    with pytest.raises(UserError, match=f"must be auto, or HOST:PORT of the first process .*, not {coordinator}$"):
        join(coordinator, 2, 0)


@pytest.mark.parametrize("given", [(None, None), (2, None), (None, 1)])
def test_a_coordinator_without_numbers_of_processes_is_refused(joined, given):
    """With defaults, each of several hosts would be the first of one."""
    with pytest.raises(UserError, match="needs --processes, how many there are, and --process, the number of this one"):
        join("node1:1234", *given)


@pytest.mark.parametrize(("count", "number"), [(4, 4), (4, -1), (0, 0)])
def test_processes_are_counted_from_0(joined, count, number):
    with pytest.raises(UserError, match=f"counts from 0 to below --processes: {number} of {count} cannot be"):
        join("node1:1234", count, number)
    assert not joined


def test_what_a_cluster_tells_is_not_to_be_told_twice(joined):
    with pytest.raises(UserError, match="--coordinator auto finds out --processes and --process: leave them out"):
        join("auto", 2, 0)
    assert not joined


def test_a_process_with_a_number_uses_all_devices_of_its_host(joined):
    """Whatever JAX could find out of a cluster: it would then use the device of the process's rank alone."""
    join("node1:1234", 3, 2)
    join("[::1]:1234", 1, 0)
    named = {"cluster_detection_method": "deactivate"}
    assert joined == [(("node1:1234", 3, 2), named), (("[::1]:1234", 1, 0), named)]


@pytest.mark.parametrize(
    ("environment", "everything"),
    [
        ({}, False),
        ({"SLURM_NTASKS": "2", "SLURM_STEP_NUM_NODES": "2"}, True),
        ({"SLURM_NTASKS": "16", "SLURM_STEP_NUM_NODES": "2"}, False),
        ({"SLURM_NTASKS": "2"}, False),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, True),
        # Open MPI starts one helper on each host by Slurm, and that the processes.
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "8", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_NODES": "2"}, False),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "1", "JAX_LOCAL_DEVICE_IDS": "3"}, False),
    ],
)
def test_a_process_that_is_alone_on_its_host_uses_all_devices_there(joined, monkeypatch, environment, everything):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    join("auto")
    assert joined == [((), {"local_device_ids": []} if everything else {})]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], []),
        (["--coordinator", "auto"], [()]),
        (["--coordinator", "host:1234", "--processes", "3", "--process", "2"], [("host:1234", 3, 2)]),
    ],
)
def test_processes_are_joined_before_the_training_begins(
    training_file, tmp_path, monkeypatch, capsys, options, expected
):
    calls = []

    def begin(*_, **__):
        raise UserError(f"begun after {calls}")

    monkeypatch.setattr(jax.distributed, "initialize", lambda *given, **_: calls.append(given))
    monkeypatch.setattr(loop, "train", begin)
    assert f"begun after {expected}" in error_of("train", capsys, *arguments(training_file, tmp_path), *options)


def test_without_a_known_cluster_automatic_joining_is_refused(training_file, tmp_path, monkeypatch, capsys):
    def initialize():
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    line = error_of("train", capsys, *arguments(training_file, tmp_path), "--coordinator", "auto")
    assert "JAX does not know this cluster" in line
    assert "give HOST:PORT" in line


def test_only_the_first_process_prints_and_writes_weights(training_file, tmp_path, monkeypatch, capsys):
    def done(config, folder, report, **_):
        report({"step": 4, "loss": 1.0, "rate": 0.1, "pairs_per_second": 3.0, "data_wait": 0.0})
        return types.SimpleNamespace(step=4)

    monkeypatch.setattr(loop, "train", done)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    assert main(["train", *arguments(training_file, tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "tiny").exists()


# --- what cannot be set ----------------------------------------------------------------------------------------------


def test_the_split_is_no_option(tmp_path, capsys):
    """Training and validation would be on the same pairs."""
    disk = tmp_path / "disk.py"
    disk.write_text(
        "from jaxtrack.training.config import TrainConfig\n"
        "from jaxtrack.training.sources import Disk\n"
        "def config():\n"
        "    return TrainConfig(source=Disk())\n"
    )
    for file in ("configs/smoke.py", disk):
        error_of("train", capsys, "--config", file, "--set.source.split", "validation")
        assert main(["train", "--config", str(file), "--help"]) == 0
        printed = capsys.readouterr().out
        assert "--set.source.seed" in printed
        assert "source.split" not in printed
