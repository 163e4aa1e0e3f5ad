import pytest

from jaxtrack.files import replacing, write_text


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
