import contextlib
import errno
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jaxtrack import files
from jaxtrack.errors import UserError
from jaxtrack.files import locked, replacing, write_text


def test_a_text_is_written_as_it_is_and_its_folder_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "run.json", "één\n")
    assert (tmp_path / "a" / "b" / "run.json").read_bytes() == "één\n".encode()


def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    write_text(path, "old")

    def full_disk(_):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_until_all_is_written_the_old_file_is_there(tmp_path):
    path = tmp_path / "plot.png"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "x"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_full_disk_leaves_unsaid_is_said(tmp_path, monkeypatch):
    """The error of a write names no file; that of opening names one that nobody has heard of."""

    def full_disk(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full_disk)
        with pytest.raises(OSError, match="No space left") as raised:
            write_text(tmp_path / "run.json", "new")
    assert (raised.value.filename, raised.value.strerror) == (str(tmp_path / "run.json"), "No space left on device")
    monkeypatch.setattr(files, "beside", lambda path: path.with_name(".run.json.7.tmp"))
    (tmp_path / ".run.json.7.tmp").mkdir()
    with pytest.raises(IsADirectoryError) as raised:
        write_text(tmp_path / "run.json", "new")
    assert raised.value.filename == str(tmp_path / "run.json")


def test_an_error_with_another_file_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, replacing(tmp_path / "copy"):
        (tmp_path / "original").read_bytes()
    assert raised.value.filename == str(tmp_path / "original")


# --- locks ---------------------------------------------------------------------------------------------------------

TAKEN = "somebody else is in the folder"


def test_one_at_a_time_holds_a_lock_whose_file_goes_with_it(tmp_path):
    path = tmp_path / "new" / ".lock"
    with locked(path, TAKEN):
        for _ in range(2):
            with pytest.raises(UserError, match=TAKEN), locked(path, TAKEN):
                pytest.fail("two are inside")
        assert path.is_file()
    assert list(path.parent.iterdir()) == []
    with locked(path, TAKEN):
        pass


def test_without_a_sentence_one_waits_until_nobody_is_inside(tmp_path):
    path, inside = tmp_path / ".lock", []

    def second():
        with locked(path):
            inside.append("second")

    with locked(path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        inside.append("first")
    thread.join(10)
    assert inside == ["first", "second"]


def test_processes_of_one_number_on_two_hosts_are_not_in_each_other_s_way(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "getpid", lambda: 7)
    path = tmp_path / "run.json"
    with replacing(path) as one, replacing(path) as other:
        one.write(b"one")
        other.write(b"other")
    assert path.read_bytes() == b"one"  # which ended last
    assert list(tmp_path.iterdir()) == [path]


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / ".lock"
    script = (
        "import sys, time; from pathlib import Path; from jaxtrack.files import locked\n"
        "with locked(Path(sys.argv[1]), ''):\n    print('inside', flush=True); time.sleep(600)"
    )
    root = str(Path(files.__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"inside\n"
        with pytest.raises(UserError, match=TAKEN), locked(path, TAKEN):
            pytest.fail("two are inside")
        process.send_signal(signal.SIGKILL)
    assert path.is_file()
    with locked(path, TAKEN):
        pass


def test_a_lock_whose_file_was_removed_before_it_was_got_is_none(tmp_path, monkeypatch):
    """The one who had it may end between the opening and the locking."""
    path, flock = tmp_path / ".lock", files.fcntl.flock

    def late(file, how):
        if file.name and not removed:
            removed.append(path.unlink())
        flock(file, how)

    removed = []
    monkeypatch.setattr(files.fcntl, "flock", late)
    with locked(path, TAKEN), pytest.raises(UserError, match=TAKEN), locked(path, TAKEN):
        pytest.fail("two are inside")


def test_where_nothing_can_be_locked_nothing_is(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(files.fcntl, "flock", none)
        with locked(tmp_path / "a", TAKEN), locked(tmp_path / "a", TAKEN):
            pass
    monkeypatch.setattr(files, "fcntl", None)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(locked(tmp_path / "b", TAKEN))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_json_is_refused_in_words(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read .*a\.json: "):
        files.read_json(tmp_path / "a.json")


def test_json_is_read_with_the_mark_that_windows_sets_before_it(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + '{"é": 1}'.encode())
    assert files.read_json(tmp_path / "a.json") == {"é": 1}
