import dataclasses
import enum
import json
import subprocess
import tomllib
from pathlib import Path, PurePosixPath

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrack.evaluation import provenance


class Border(enum.Enum):
    REPLICATE = 1


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.5


@dataclasses.dataclass(frozen=True)
class Other:
    rate: float = 0.5


@dataclasses.dataclass(frozen=True)
class Config:
    inner: Inner | Other = Inner()
    border: Border = Border.REPLICATE
    sizes: tuple[int, ...] = (1, 2)
    table: dict = dataclasses.field(default_factory=lambda: {"b": None, "a": True})


def test_a_nested_config_becomes_json_that_names_its_classes():
    assert provenance.to_json(Config()) == {
        "class": "Config",
        "inner": {"class": "Inner", "rate": 0.5},
        "border": "REPLICATE",
        "sizes": [1, 2],
        "table": {"b": None, "a": True},
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("inf"), "inf"),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7),
        (np.bool_(True), True),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array([np.inf, 1.0]), ["inf", 1.0]),
        (frozenset("hgfedcba"), list("abcdefgh")),
        (PurePosixPath("a/b"), "a/b"),
        (np.dtype("uint8"), "uint8"),
        (np.uint8, "numpy.uint8"),
        (provenance.to_json, "jaxtrack.evaluation.provenance.to_json"),
    ],
    ids=lambda value: type(value).__name__,  # the same in every process
)
def test_values_that_configs_hold_have_a_json_form(value, expected):
    found = provenance.to_json(value)
    assert found == expected
    assert type(found) is type(expected)


def test_jax_arrays_and_dtypes_have_a_json_form():
    assert provenance.to_json(jnp.array([1, 2])) == [1, 2]
    assert "float32" in provenance.to_json(jnp.float32)


def test_what_cannot_be_recorded_is_refused_with_its_place():
    with pytest.raises(TypeError, match=r"config\.table\.f: function cannot be recorded"):
        provenance.to_json(Config(table={"f": lambda: 0}))
    with pytest.raises(TypeError, match=r"config\.sizes\[1\]: object"):
        provenance.to_json(Config(sizes=(1, object())))


def test_the_hash_does_not_depend_on_the_order_of_keys_but_on_classes_and_values():
    a, b = Config(table={"a": 1, "b": 2}), Config(table={"b": 2, "a": 1})
    assert provenance.short_hash(provenance.to_json(a)) == provenance.short_hash(provenance.to_json(b))
    hashes = {provenance.short_hash(provenance.to_json(x)) for x in (a, Config(), Config(inner=Other()))}
    assert len(hashes) == 3


def test_the_hash_is_that_of_sha256():
    text = b'{"a":1}'  # echo -n '{"a":1}' | sha256sum
    assert provenance.canonical({"a": 1}).encode() == text
    assert provenance.short_hash({"a": 1}) == "015abd7f5cc5"


def test_differences_name_the_entries():
    stored = {"a": {"x": 1, "y": 2}, "gone": 3}
    current = {"a": {"x": 1, "y": 5}, "new": 4}
    assert provenance.differences(stored, current) == (
        "a.y: 2 stored, 5 now; gone: 3 stored, None now; new: None stored, 4 now"
    )
    assert provenance.differences(stored, stored) == ""


def test_the_environment_names_packages_and_devices_and_fits_json():
    environment = provenance.environment()
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert environment["packages"]["jaxtrack"] == project["version"]  # a checkout need not be installed
    assert environment["packages"]["jax"] == jax.__version__
    assert environment["packages"]["numpy"] == np.__version__
    assert environment["packages"]["opencv"].startswith("opencv-")
    assert environment["devices"]["count"] == len(jax.local_devices())
    assert environment == json.loads(json.dumps(environment))


def test_the_number_of_threads_that_xla_is_told_counts_in_the_place_of_the_cores(monkeypatch):
    monkeypatch.setattr(provenance.os, "sched_getaffinity", lambda _: {0, 1, 5}, raising=False)
    monkeypatch.delenv("NPROC", raising=False)
    assert provenance.cpu_count() == 3
    for said, count in (("8", 8), ("0", 3), ("many", 3)):
        monkeypatch.setenv("NPROC", said)
        assert provenance.environment()["cpu_count"] == count


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_that_of_the_checkout_and_says_when_files_differ(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert provenance.git_commit(tmp_path) == commit
    (tmp_path / "file").write_text("2")
    assert provenance.git_commit(tmp_path) == f"{commit}+changes"


def test_there_is_no_commit_outside_a_checkout_in_an_empty_one_or_in_somebody_elses(tmp_path):
    assert provenance.git_commit(tmp_path) is None
    git(tmp_path, "init", "--quiet")
    assert provenance.git_commit(tmp_path) is None
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "first")
    (tmp_path / "inside").mkdir()
    assert provenance.git_commit(tmp_path / "inside") is None
