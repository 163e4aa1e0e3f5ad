import pytest

from jaxtrack.commands import _tracker_choice, evaluate
from jaxtrack.errors import UserError
from jaxtrack.trackers.opencv import MilConfig


@pytest.fixture
def config_file(tmp_path):
    def write(text, name="mine.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_a_config_file_returns_its_config(config_file):
    path = config_file(
        "from jaxtrack.trackers.opencv import MilConfig\ndef config():\n    return MilConfig(track_radius_px=2.0)\n"
    )
    [entry] = _tracker_choice.choose(str(path))
    assert (entry.label, entry.tracker, entry.config) == ("mine", "opencv-mil", MilConfig(track_radius_px=2.0))


def test_names_and_files_can_be_mixed_and_keep_their_order(config_file):
    path = config_file("from jaxtrack.trackers.opencv import MilConfig as config\n")
    assert [e.label for e in _tracker_choice.choose(f"opencv_mil, {path}")] == ["opencv-mil", "mine"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", r"mine.py: it must define a function config\(\)"),
        ("def config():\n    return 3\n", "int is not the configuration of any tracker"),
        ("def config(:\n", "mine.py, line 1: SyntaxError"),
        ("import nothing_of_that_name\n", "mine.py, line 1: ModuleNotFoundError: No module named"),
        ("def config():\n\n    return 1 / 0\n", "mine.py, line 3: ZeroDivisionError"),
        (
            "from jaxtrack.trackers.opencv import MilConfig\ndef config():\n    return MilConfig(track_radius_px=-1)\n",
            "mine.py: track_radius_px of MilConfig must be greater than 0",
        ),
        (
            "from jaxtrack.online.itsgd import Training\ndef config():\n    return Training(learning_rat=1)\n",
            r"mine.py, line 3: TypeError: .*'learning_rat': did you mean learning_rate\?",
        ),
    ],
)
def test_a_faulty_config_file_is_named_with_the_line(config_file, text, message):
    with pytest.raises(UserError, match=message):
        _tracker_choice.choose(str(config_file(text)))


@pytest.mark.parametrize("name", ["smoke", "mdnet_procedural"])
def test_the_configuration_of_a_training_is_called_that(name):
    path = _tracker_choice.CONFIGS / f"{name}.py"
    with pytest.raises(UserError, match=rf"{name}\.py is the configuration of a training: use train\.py --config /"):
        _tracker_choice.choose(str(path))


def test_a_config_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="there is no config file"):
        _tracker_choice.choose(str(tmp_path / "mine.py"))


def test_two_config_files_of_one_name(config_file):
    text = "from jaxtrack.trackers.opencv import MilConfig as config\n"
    first, second = config_file(text, "a/mine.py"), config_file(text, "b/mine.py")
    with pytest.raises(UserError, match="two trackers are called mine"):
        _tracker_choice.choose(f"{first},{second}")


def test_a_misspelt_config_file_gets_a_suggestion():
    with pytest.raises(UserError, match=r"there is no config file smok: did you mean configs/smoke\.py\?"):
        _tracker_choice.load_config(_tracker_choice.config_path("smok"))


def test_a_file_that_is_no_python_and_a_folder_are_called_that(tmp_path):
    for name in ("README.md", "notes"):
        (tmp_path / name).write_text("# no config")
        with pytest.raises(
            UserError, match=rf"{name} is no config file: expected a Python file \(\.py\) with a function"
        ):
            _tracker_choice.load_config(tmp_path / name)
    with pytest.raises(UserError, match=r"there is no config file .*, it is a folder: name a file in it"):
        _tracker_choice.load_config(tmp_path)


def test_options_are_listed_as_the_help_spells_them():
    [entry] = _tracker_choice.choose("siamban_nano")
    assert "--siamban-nano.window-influence" in _tracker_choice.option_names(evaluate.Options, [entry])
