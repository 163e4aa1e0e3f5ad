import logging
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jaxtrack import commands
from jaxtrack.__main__ import guarded, main
from jaxtrack.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


def test_the_list_of_commands_names_each_with_a_line(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name in commands.names():
        assert f"  {name} " in printed
    assert {"evaluate", "train"} <= set(commands.names())


def test_no_command_is_a_mistake(capsys):
    assert main([]) == 2
    assert "usage: jaxtrack COMMAND" in capsys.readouterr().out


def test_an_unknown_command_gets_a_suggestion(capsys):
    assert main(["evaluat"]) == 2
    assert capsys.readouterr().err == "error: There is no command called 'evaluat': did you mean evaluate?\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("no such file"), 2, "error: no such file\n"),
        (KeyboardInterrupt("run it again"), 130, "run it again\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (SystemExit(2), 2, ""),
        (SystemExit(), 0, ""),
        (SystemExit("stop"), 1, ""),
    ],
)
def test_what_a_user_may_meet_becomes_an_exit_code(capsys, error, code, message):
    def fail():
        raise error

    assert guarded(fail) == code
    assert capsys.readouterr().err == message


@pytest.fixture
def xla_levels(monkeypatch):
    """The levels that are set for XLA's log, which stays as it is; JAX has just been imported."""
    found = []
    monkeypatch.setattr("jax._src.logging_config.utils.absl_set_min_log_level", found.append)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "1")
    yield found
    jax.config.update("jax_logging_level", "NOTSET")


def test_commands_leave_of_xlas_log_what_ends_the_process_and_jaxs_warnings_as_they_are(xla_levels):
    """Its alarms of slow compiling are of level 2, errors."""
    assert guarded(lambda: None) == 0
    assert xla_levels == [3]
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"  # of workers
    assert (logging.getLogger("jax").level, logging.getLogger("jax").handlers) == (logging.NOTSET, [])


@pytest.mark.parametrize("chosen_by", ["TF_CPP_MIN_LOG_LEVEL", "jax_logging_level"])
def test_whoever_has_chosen_what_is_logged_sees_it(xla_levels, monkeypatch, chosen_by):
    if chosen_by == "TF_CPP_MIN_LOG_LEVEL":
        monkeypatch.setenv(chosen_by, "0")
    else:
        jax.config.update(chosen_by, "INFO")
    before = list(xla_levels)
    assert guarded(lambda: None) == 0
    assert xla_levels == before


@pytest.mark.parametrize(("end", "code", "said"), [("KeyboardInterrupt", 130, ""), ("m.UserError", 2, "the end\n")])
def test_after_ctrl_c_nothing_waits_for_the_interpreters_end(end, code, said):
    """Where a program that is being compiled in threads of XLA's would keep it, or crash."""
    lines = f"""
import atexit, jaxtrack.__main__ as m
atexit.register(print, "the end")
def run():
    raise {end}("said")
m.leave(m.guarded(run))
"""
    done = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, said)
    assert done.stderr.endswith("said\n")


def test_a_defect_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 / 0)


def test_what_a_terminal_would_take_for_a_command_is_shown_and_not_done(capsys):
    def fail():
        raise UserError("tensor \x1b[2Jevil")

    assert guarded(fail) == 2
    assert capsys.readouterr().err == "error: tensor \\x1b[2Jevil\n"


@pytest.mark.parametrize("command", [["train.py"], ["-m", "jaxtrack", "train"]])
def test_scripts_and_package_are_two_doors_to_the_same_command(command):
    line = [sys.executable, *command, "--config", "nowhere.py"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: there is no config file nowhere.py\n"


def test_a_reader_that_has_had_enough_is_no_error(monkeypatch):
    # Buffered, so that the reader is gone when the output is flushed at the end.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    code = "import sys, time; import jaxtrack.__main__ as m; time.sleep(0.2); sys.exit(m.guarded(lambda: print(1)))"
    command = f"{sys.executable} -c '{code}' | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
