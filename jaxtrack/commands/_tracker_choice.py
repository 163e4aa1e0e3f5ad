"""Which trackers a command line asks for, and the options of their configurations that it may set.

An item of `--tracker` is a tracker's name or the path of a config file, a Python file with a function `config()` that
returns the configuration of a tracker. Each chosen tracker's configuration becomes a group of options, generated from
its dataclass: `--deeptrack.sampling.particles 800`.
"""

import argparse
import dataclasses
import difflib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import tyro

from jaxtrack import trackers
from jaxtrack.errors import UserError
from jaxtrack.evaluation.runner import Entry

NONE = "none"
"""What `--tracker` says where nothing is to be run: only results of others are scored."""
Options = TypeVar("Options")
CONFIGS = Path(__file__).resolve().parents[2] / "configs"  # of the checkout that this is, if it is one

_SUGGESTIONS, _CLOSE = 3, 0.7
_WORD = 0.9  # what a word of two names that is the same counts beside the whole names
_ELSEWHERE = {  # what other toolkits call options, and what they are called here
    "dataset": "benchmark",
    "data-root": "data-dir",
    "model": "tracker",
    "bbox": "box",
    "init-box": "box",
    "output": "out",
}


def split_list(text: str, what: str) -> tuple[str, ...]:
    """The items of a list separated by commas; `UserError` if there is none or one stands there twice.

    >>> split_list("Deer, Couple", "sequence")
    ('Deer', 'Couple')
    """
    items = tuple(item.strip() for item in text.split(",") if item.strip())
    if not items:
        raise UserError(f"name at least one {what}, several separated by commas")
    for item in items:
        if items.count(item) > 1:
            raise UserError(f"the {what} {item} is named twice")
    return items


def parse(options: type[Options], argv: Sequence[str], *, prog: str) -> tuple[Options, list[Entry]]:
    """Parses a command line into `options`, a dataclass with a field `tracker`, and the chosen trackers.

    Leaves the program (code 2, or 0 after `--help`) where the command line is not understood.
    """
    chosen = choose(_tracker_option(options, argv, prog))
    # Fields are numbered, because a label such as `opencv-mil` is no Python name.
    fields = {
        f"config_{i}": (Annotated[type(entry.config), tyro.conf.arg(name=entry.label)], entry.config)
        for i, entry in enumerate(chosen)
    }
    extended = dataclasses.make_dataclass(
        options.__name__,
        [(name, kind, dataclasses.field(default=default)) for name, (kind, default) in fields.items()],
        bases=(options,),
        frozen=True,
    )
    parsed, unknown = tyro.cli(
        extended, args=list(argv), prog=prog, description=inspect.getdoc(options), return_unknown_args=True
    )
    if unknown:
        refuse(unknown[0], option_names(options, chosen), prog)
    entries = [dataclasses.replace(e, config=getattr(parsed, f"config_{i}")) for i, e in enumerate(chosen)]
    return parsed, entries


def option_names(options: type, entries: Sequence[Entry]) -> list[str]:
    """Every option that the command line has with the trackers `entries`, as it is spelt: `--deeptrack.v`."""
    names = []
    for field in dataclasses.fields(options):
        name = field.name.strip("_").replace("_", "-")
        inner = _field_names(field.default, name) if dataclasses.is_dataclass(field.default) else [name]
        names += [f"--{each}" for each in inner]
    for entry in entries:
        names += [f"--{name}" for name in _field_names(entry.config, entry.label)]
    return names


def _field_names(config: Any, prefix: str) -> list[str]:
    names = []
    for field in dataclasses.fields(config):
        name, value = f"{prefix.replace('_', '-')}.{field.name.replace('_', '-')}", getattr(config, field.name)
        names += _field_names(value, name) if dataclasses.is_dataclass(value) else [name]
    return names


def refuse(argument: str, known: Sequence[str], prog: str) -> NoReturn:
    """Raises `UserError` on an argument that nobody understands, with the options that may have been meant."""
    name = argument.partition("=")[0]
    if not name.startswith("-"):
        raise UserError(f"{name!r} belongs to no option: see {prog} --help")
    owner = name.lstrip("-").partition(".")[0].replace("_", "-")
    tracker = next((tracker for tracker in trackers.names() if tracker.replace("_", "-") == owner), None)
    close = _closest(name, known)
    if "." in name and tracker and not any(other.startswith(f"--{owner}.") for other in known):
        hint = f"its tracker is not among those of --tracker, which takes several: --tracker A,{tracker}"
    elif close:
        hint = f"did you mean {' or '.join(close)}?"
    else:
        hint = f"see {prog} --help"
    raise UserError(f"There is no option {name}: {hint}")


def _closest(name: str, known: Sequence[str]) -> list[str]:
    """The options that may have been meant by one that there is not, the most similar first."""
    name = name.replace("_", "-")
    elsewhere = f"--{_ELSEWHERE.get(name.lstrip('-'))}"
    if elsewhere in known:
        return [elsewhere]
    scores = {option: _similarity(name, option) for option in known}
    best = sorted(scores, key=lambda option: scores[option], reverse=True)[:_SUGGESTIONS]
    return [option for option in best if scores[option][0] > _CLOSE]


def _similarity(name: str, option: str) -> tuple[float, float]:
    """How alike two options are, 0 to 1: in whole, last part or a word of it, as `steps` and `stepz`; then in whole."""
    # That both begin with `--set.` says nothing.
    paths = [text.lstrip("-").split(".") for text in (name, option)]
    if paths[0][0] == paths[1][0] and min(map(len, paths)) > 1:
        paths = [path[1:] for path in paths]
    whole = _ratio(*(".".join(path) for path in paths))
    last, other = (path[-1] for path in paths)
    word = max(_ratio(a, b) for a in last.split("-") for b in other.split("-"))
    return max(whole, _ratio(last, other), _WORD * word), whole


def _ratio(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()


def choose(trackers_option: str) -> list[Entry]:
    """The trackers that the value of `--tracker` names, with the configurations of their files or the defaults."""
    if trackers_option.strip() == NONE:
        return []
    entries = [_entry(item) for item in split_list(trackers_option, "tracker")]
    labels = [entry.label for entry in entries]
    for label in labels:
        if labels.count(label) > 1:
            raise UserError(f"two trackers are called {label}: rename one of the config files")
    return entries


def load_config(path: Path) -> Any:
    """What the function `config()` of a Python file returns."""
    if not path.is_file():
        raise UserError(f"there is no config file {path}{_meant(path)}")
    if path.suffix != ".py":
        raise UserError(f"{path} is no config file: expected a Python file (.py) with a function config()")
    try:
        spec = importlib.util.spec_from_file_location(f"jaxtrack_config_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if not callable(getattr(module, "config", None)):
            raise UserError("it must define a function config() that returns a configuration")
        return module.config()
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # whatever somebody's file may raise
        text = f"{type(error).__name__}: {error}{_suggestion(str(error))}"
        raise UserError(f"{path}{_line_in(path, error)}: {text}") from error


def config_path(named: str) -> Path:
    """The config file that a command line names: a path, or the name of one of `configs`, here or of the checkout."""
    name = named.removesuffix(".py").removeprefix("configs/")
    shipped = (folder / f"{name}.py" for folder in (Path("configs"), CONFIGS) if "/" not in name)
    return next((path for path in (Path(named), *shipped) if path.is_file()), Path(named))


def _meant(path: Path) -> str:
    """What may have been meant by a config file that there is not."""
    if path.is_dir():
        return ", it is a folder: name a file in it"
    close = difflib.get_close_matches(path.stem, sorted(file.stem for file in CONFIGS.glob("*.py")), n=_SUGGESTIONS)
    return f": did you mean {' or '.join(f'configs/{stem}.py' for stem in close)}?" if close else ""


def _entry(item: str) -> Entry:
    if not item.endswith(".py"):
        name = trackers.canonical_name(item)
        return Entry(name, name, trackers.default_config(name))
    config = load_config(Path(item))
    try:
        return Entry(Path(item).stem, trackers.name_of(config), config)
    except UserError as error:
        if _is_training(config):
            raise UserError(f"{item} is the configuration of a training: use train.py --config {item}") from error
        raise UserError(f"{item}: config() must return the configuration of a tracker: {error}") from error


def _is_training(config: Any) -> bool:
    from jaxtrack.training.config import Training  # takes a while to import, and is rarely asked for

    return isinstance(config, Training)


def _tracker_option(options: type, argv: Sequence[str], prog: str) -> str:
    """The value of `--tracker`, read ahead because the other options depend on it."""
    [default] = [field.default for field in dataclasses.fields(options) if field.name == "tracker"]
    parser = argparse.ArgumentParser(prog=prog, add_help=False, allow_abbrev=False)
    parser.add_argument("--tracker", default=default)
    return parser.parse_known_args(argv)[0].tracker


def _suggestion(message: str) -> str:
    """`: did you mean …?` where a message is Python's on an unknown field of a configuration."""
    unknown = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", message)
    if not unknown or "Did you mean" in message:
        return ""
    loaded = [module for name, module in sys.modules.items() if name.startswith("jaxtrack.")]
    of_name = [getattr(module, unknown[1], None) for module in loaded]
    known = {field.name for found in of_name if dataclasses.is_dataclass(found) for field in dataclasses.fields(found)}
    close = difflib.get_close_matches(unknown[2], sorted(known), n=1)
    return f": did you mean {close[0]}?" if close else ""


def _line_in(path: Path, error: Exception) -> str:
    """`, line 12`: where in the file `path` an exception arose."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
    return f", line {lines[-1]}" if lines else ""
