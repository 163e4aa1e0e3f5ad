"""The version of the package: of a checkout, of an installed package, or none."""

import importlib.metadata
import tomllib
from pathlib import Path

import pytest

from jaxtrack import version

PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """The file that tells the version of a checkout; version 9 is installed."""
    monkeypatch.setattr(version, "_CHECKOUT", tmp_path / "pyproject.toml")
    monkeypatch.setattr(importlib.metadata, "version", {"jaxtrack": "9"}.__getitem__)
    return tmp_path / "pyproject.toml"


def test_a_checkout_that_is_not_installed_has_its_own_version():
    assert version.version() == PROJECT["version"]


def test_a_checkout_goes_before_another_version_that_is_installed(checkout):
    checkout.write_text('[project]\nname = "jaxtrack"\nversion = "1.2.3"\n')
    assert version.version() == "1.2.3"


@pytest.mark.parametrize("text", [None, "[project", '[project]\nname = "other"\nversion = "5"\n', "[tool.ruff]\n"])
def test_without_a_checkout_it_is_the_installed_version(checkout, text):
    if text is not None:
        checkout.write_text(text)
    assert version.version() == "9"


def test_there_may_be_no_version(checkout, monkeypatch):
    def version_of(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version_of)
    assert version.version() is None
