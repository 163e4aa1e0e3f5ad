"""The tracker that the weights of a training are for, and the command that evaluates it with them."""

import dataclasses
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxtrack import trackers
from jaxtrack.evaluation import provenance
from jaxtrack.models import rpn2t as rpn2t_models
from jaxtrack.models import siamese as siamese_models
from jaxtrack.trackers import mdnet, rpn2t, siamese, transt
from jaxtrack.training import identity
from jaxtrack.training.config import TrainConfig, Training
from jaxtrack.training.detection.config import DetectionConfig
from jaxtrack.training.distillation.config import DistillationConfig
from jaxtrack.training.domains.config import DomainConfig
from jaxtrack.training.sources import FactorDisk


def command(config: Training, weights: Path, prog: str) -> str:
    """The command line that evaluates what a training has made.

    Args:
      config: of the training.
      weights: the file that it has written.
      prog: how usage texts call the command of the training; the other one is called in the same way.
    """
    name, changes = TRACKED[type(config)](config)
    default = trackers.default_config(name)
    changed = dataclasses.replace(default, **changes)
    prefix = f"--{name.replace('_', '-')}"
    options = identity.options_of(provenance.to_json(changed), provenance.to_json(default), prefix)
    program = "python evaluate.py" if prog.endswith(".py") else "python -m jaxtrack evaluate"
    return " ".join([program, "--tracker", name, f"{prefix}.weights", shlex.quote(str(weights)), *options])


def _siamese(config: TrainConfig) -> tuple[str, dict[str, Any]]:
    """Constants that were chosen for other weights are left out."""
    kind = siamese_models.ARCHITECTURES[config.architecture].kind
    if kind == "tokens":
        return _transt(config)
    name = _with_network(_untuned(siamese.CONFIGS), config.architecture, "siamrpn" if kind == "anchors" else "siamban")
    return name, {"architecture": config.architecture, "calibration": siamese.Config.calibration}


def _transt(config: TrainConfig) -> tuple[str, dict[str, Any]]:
    """Search regions are as wide as those of the pairs."""
    name = _with_network(_untuned(transt.CONFIGS), config.architecture, "transt_nano")
    factors = {"search_factor": 0.0}
    if isinstance(config.source, FactorDisk):
        crops = config.source.crops
        factors = {"template_factor": crops.template_factor, "search_factor": crops.search_factor}
    return name, {"architecture": config.architecture, **factors}


def _domains(config: DomainConfig) -> tuple[str, dict[str, Any]]:
    """The tracker that learns by the same terms, from the same features.

    For a part of RankLoc on a network of which there is only RankLoc as a whole, that one without the other part. The
    narrow networks keep rates that were chosen on test data, as their label says: at others they learn little.
    """

    def learning_by(terms: tuple[bool, bool]) -> dict[str, mdnet.Config]:
        return {name: each for name, each in mdnet.CONFIGS.items() if _terms(each) == terms}

    known = learning_by(_terms(config))
    whole = _with_network(learning_by((True, True)), config.architecture, next(iter(known)))
    name = _with_network(known, config.architecture, whole)
    fields = ("architecture", "loss", "location", "location_of")
    return name, {field: getattr(config, field) for field in fields}


def _terms(config: DomainConfig | mdnet.Config) -> tuple[bool, bool]:
    """Whether there is a location feature, and a ranking loss."""
    return config.location != "none", config.loss.ranking > 0


def _detection(config: DetectionConfig) -> tuple[str, dict[str, Any]]:
    """A file with scores and offsets of anchors is one that the teacher takes, too."""
    whole = config.architecture == rpn2t_models.PROPOSALS
    return _rpn2t(rpn2t_models.TEACHER if whole else config.architecture)


def _distillation(config: DistillationConfig) -> tuple[str, dict[str, Any]]:
    return _rpn2t(config.architecture)


def _rpn2t(architecture: str) -> tuple[str, dict[str, Any]]:
    return _with_network(rpn2t.CONFIGS, architecture, "rpn2t"), {"architecture": architecture}


TRACKED: dict[type[Training], Callable[[Any], tuple[str, dict[str, Any]]]] = {
    TrainConfig: _siamese,
    DomainConfig: _domains,
    DetectionConfig: _detection,
    DistillationConfig: _distillation,
}
"""For each kind of trainings: configuration to the tracker's name, and the fields that are not its default ones."""


def _untuned(known: Mapping[str, Any]) -> dict[str, Any]:
    """The trackers whose constants were not chosen on test data."""
    return {name: each for name, each in known.items() if not each.tuned_on}


def _with_network(known: Mapping[str, Any], architecture: str, otherwise: str) -> str:
    """The first tracker with a network."""
    return next((name for name, each in known.items() if each.architecture == architecture), otherwise)
