import configparser

import pytest
from command_line import error_of

from jaxtrack.__main__ import main
from jaxtrack.integrations.vot import ToolkitTracker


def test_the_section_names_the_tracker_and_its_arguments(capsys):
    options = ["--tracker=OpenCV-MIL", "--seed=3", "--start-box=enclosing", "--convert=rectangle", "--timeout=60"]
    assert main(["vot", *options]) == 0
    parser = configparser.ConfigParser()
    parser.read_string(capsys.readouterr().out)
    assert parser.sections() == ["opencv_mil"]
    section = dict(parser["opencv_mil"])
    arguments = {name.removeprefix("arg_"): section.pop(name) for name in list(section) if name.startswith("arg_")}
    assert section == {
        "label": "opencv-mil",
        "protocol": "python",
        "command": "jaxtrack.integrations.vot:ToolkitTracker",
        "timeout": "60",
        "convert": "rectangle",
    }
    assert ToolkitTracker(**arguments)._seed == 3
    assert arguments["start_box"] == "enclosing"


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--tracker=siambam_nano", "did you mean siamban_nano"),
        ("--tracker=siamrpn", "has no such option: it takes a file of that name from the folder JAXTRACK_WEIGHTS"),
        ("--seed=-1", "--seed must be between 0 and 2147483647, not -1"),
        ("--timeout=0", "--timeout must be at least 1, not 0"),
        ("--warm-up=big", "sizes of images such as 640x480, separated by commas, not 'big'"),
    ],
)
def test_what_would_fail_in_the_toolkit_is_refused_here(capsys, monkeypatch, tmp_path, option, sentence):
    monkeypatch.setenv("JAXTRACK_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert sentence in error_of("vot", capsys, option)
