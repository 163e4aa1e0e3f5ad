"""Options of `train` for several processes, and those that there are not."""

import jax
import pytest
from command_line import error_of

from jaxtrack.__main__ import main
from jaxtrack.commands import train
from jaxtrack.errors import UserError

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
