import functools
import http.server
import io
import re
import threading
import zipfile

import pytest

from jaxtrack.data import benchmarks, download, otb, otb_table
from jaxtrack.errors import UserError


class Server(http.server.ThreadingHTTPServer):
    """Serves archives from memory; `faults` makes it misbehave for the next requests, one entry each."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.archives: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.faults: list[str] = []
        self.ranges = True
        self.url = f"http://127.0.0.1:{self.server_address[1]}/seq"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        fault = self.server.faults.pop(0) if self.server.faults else ""
        data = self.server.archives.get(self.path)
        if data is None or fault.isdigit():
            self.send_error(int(fault or 404))
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.server.ranges else 0
        if start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.end_headers()
            return
        self.send_response(206 if start or (asked and self.server.ranges) else 200)
        if asked and self.server.ranges:
            claimed = start + (fault == "shifted")
            self.send_header("Content-Range", f"bytes {claimed}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        sent = data[start:]
        self.wfile.write(sent[: len(sent) // 2] if fault == "truncated" else sent)

    def log_message(self, format, *args):  # noqa: A002
        pass


@pytest.fixture(autouse=True)
def quick_and_local(monkeypatch):
    monkeypatch.setattr(download, "BACKOFF_S", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def archive(jpeg):
    """Bytes of an archive as the benchmark's server has them: a top folder and what macOS adds."""

    def make(folder, images, annotations=("groundtruth_rect.txt",), extra=()):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as opened:
            opened.writestr(f"{folder}/img/", b"")
            for number in range(1, images + 1):
                opened.writestr(f"{folder}/img/{number:04d}.jpg", jpeg())
                opened.writestr(f"__MACOSX/{folder}/img/._{number:04d}.jpg", b"litter")
            for annotation in annotations:
                opened.writestr(f"{folder}/{annotation}", "3\t4\t5\t6\n" * images)
            for name in extra:
                opened.writestr(name, b"extra")
        return buffer.getvalue()

    return make


@pytest.fixture
def deer(server, archive):
    """The archive of Deer (71 images), which the server offers."""
    server.archives["/seq/Deer.zip"] = archive("Deer", 71)
    return server.archives["/seq/Deer.zip"]


def fetch(server, data_dir, *names):
    return download.download(names or ["Deer"], data_dir, base_url=server.url, progress=False)


def assert_only_deer(data_dir):
    """Deer is complete and nothing of the download is left."""
    assert [path.name for path in (data_dir / "otb").iterdir()] == ["Deer"]
    (sequence,) = benchmarks.load("otb100", data_dir).sequences
    assert (sequence.name, len(sequence), sequence[70].shape) == ("Deer", 71, (12, 16, 3))


@pytest.mark.usefixtures("deer")
def test_a_sequence_is_downloaded_and_loads(server, tmp_path):
    assert fetch(server, tmp_path / "data", "deer") == [tmp_path / "data" / "otb" / "Deer"]
    assert_only_deer(tmp_path / "data")
    assert server.requests == [("/seq/Deer.zip", None)]


def test_an_interrupted_download_goes_on_where_it_stopped(server, deer, tmp_path):
    (tmp_path / "otb").mkdir()
    (tmp_path / "otb" / "Deer.zip.part").write_bytes(deer[:1000])
    fetch(server, tmp_path)
    assert_only_deer(tmp_path)
    assert server.requests == [("/seq/Deer.zip", "bytes=1000-")]


def test_a_server_that_ignores_ranges_is_read_from_the_start(server, deer, tmp_path):
    server.ranges = False
    (tmp_path / "otb").mkdir()
    (tmp_path / "otb" / "Deer.zip.part").write_bytes(deer[:1000])
    fetch(server, tmp_path)
    assert_only_deer(tmp_path)
    assert len(server.requests) == 1


def test_a_download_that_had_arrived_in_full_is_not_repeated(server, deer, tmp_path):
    (tmp_path / "otb").mkdir()
    (tmp_path / "otb" / "Deer.zip.part").write_bytes(deer)
    fetch(server, tmp_path)
    assert_only_deer(tmp_path)
    assert server.requests == [("/seq/Deer.zip", f"bytes={len(deer)}-")]


@pytest.mark.parametrize("part", ["too long", "of another file"])
def test_a_part_that_does_not_fit_is_thrown_away(server, deer, tmp_path, part):
    (tmp_path / "otb").mkdir()
    wrong = deer + b"more" if part == "too long" else bytes(1000)
    (tmp_path / "otb" / "Deer.zip.part").write_bytes(wrong)
    fetch(server, tmp_path)
    assert_only_deer(tmp_path)
    assert [asked for _, asked in server.requests] == [f"bytes={len(wrong)}-", None]


def test_a_truncated_transfer_is_resumed(server, deer, tmp_path):
    server.faults = ["truncated"]
    fetch(server, tmp_path)
    assert_only_deer(tmp_path)
    assert [asked for _, asked in server.requests] == [None, f"bytes={len(deer) // 2}-"]


def test_a_wrong_range_is_not_appended(server, deer, tmp_path):
    server.faults = ["truncated", "shifted"]
    fetch(server, tmp_path)
    assert_only_deer(tmp_path)
    assert [asked for _, asked in server.requests] == [None, f"bytes={len(deer) // 2}-", None]


@pytest.mark.usefixtures("deer")
def test_a_server_in_trouble_is_asked_again(server, tmp_path):
    server.faults = ["503", "429"]
    fetch(server, tmp_path)
    assert_only_deer(tmp_path)
    assert len(server.requests) == 3


def test_after_the_last_attempt_what_has_arrived_is_kept_for_the_next_run(server, deer, tmp_path):
    server.faults = ["truncated", *["503"] * 4]
    with pytest.raises(UserError, match=rf"Could not download {server.url}/Deer\.zip in 5 attempts .* 503 .* is kept$"):
        fetch(server, tmp_path)
    assert [path.name for path in (tmp_path / "otb").iterdir()] == ["Deer.zip.part"]
    fetch(server, tmp_path)
    assert_only_deer(tmp_path)
    assert server.requests[-1] == ("/seq/Deer.zip", f"bytes={len(deer) // 2}-")


def test_a_server_out_of_reach_is_named(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match=rf"Could not download {server.url}/Deer\.zip in 5 attempts .*refused"):
        fetch(server, tmp_path)


def test_an_archive_that_does_not_exist_is_refused_at_once(server, tmp_path):
    with pytest.raises(UserError, match=rf"^{server.url}/Deer\.zip cannot be downloaded: the server answers 404"):
        fetch(server, tmp_path)
    assert len(server.requests) == 1
    assert list((tmp_path / "otb").iterdir()) == []


def test_bytes_that_are_no_archive_are_fetched_anew_and_then_given_up(server, tmp_path):
    server.archives["/seq/Deer.zip"] = b"<html>maintenance</html>"
    with pytest.raises(UserError, match=r"in 5 attempts \(.* not a complete zip archive .*\): try again later$"):
        fetch(server, tmp_path)
    assert [asked for _, asked in server.requests] == [None] * 5
    assert list((tmp_path / "otb").iterdir()) == []


def test_an_archive_that_would_write_elsewhere_is_refused(server, archive, tmp_path):
    server.archives["/seq/Deer.zip"] = archive("Deer", 71, extra=["../../evil.txt"])
    with pytest.raises(UserError, match=r"'\.\./\.\./evil\.txt' is a path that leads out"):
        fetch(server, tmp_path / "data")
    assert len(server.requests) == 1
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["data", "data/otb"]


def test_an_archive_without_all_images_is_refused(server, archive, tmp_path):
    server.archives["/seq/Deer.zip"] = archive("Deer", 70)
    with pytest.raises(UserError, match=r"does not hold the sequence Deer: img/0071\.jpg is missing \(1 files"):
        fetch(server, tmp_path)
    assert list((tmp_path / "otb").iterdir()) == []


def test_two_targets_of_one_video_are_fetched_once(server, archive, tmp_path):
    annotations = ("groundtruth_rect.1.txt", "groundtruth_rect.2.txt")
    server.archives["/seq/Jogging.zip"] = archive("Jogging", 307, annotations)
    assert fetch(server, tmp_path, "Jogging-1", "jogging_2") == [tmp_path / "otb" / "Jogging"]
    assert len(server.requests) == 1
    assert set(otb.sequence_folders(otb_table.table(), tmp_path)) == {"Jogging-1", "Jogging-2"}


@pytest.mark.parametrize("inside", [".", "OTB100"])
@pytest.mark.usefixtures("deer")
def test_a_sequence_that_is_there_is_skipped_and_others_go_beside_it(server, archive, tmp_path, make_sequence, inside):
    make_sequence(tmp_path / inside, "Football1", range(1, 82))
    assert fetch(server, tmp_path, "Football1", "Deer") == [tmp_path / inside / "Deer"]
    assert server.requests == [("/seq/Deer.zip", None)]
    assert fetch(server, tmp_path, "Football1", "Deer") == []


@pytest.mark.usefixtures("deer")
def test_a_folder_of_annotations_counts_as_nothing(server, tmp_path, make_sequence):
    folder = make_sequence(tmp_path / "otb_annotations", images=[], rows=["3,4,5,6"] * 71)
    (folder / "img").rmdir()
    assert fetch(server, tmp_path) == [tmp_path / "otb" / "Deer"]


@pytest.mark.usefixtures("deer")
def test_what_a_killed_run_left_behind_is_cleared(server, tmp_path):
    (tmp_path / "otb" / ".Deer.unpacking" / "img").mkdir(parents=True)
    (tmp_path / "otb" / "Deer").mkdir()
    fetch(server, tmp_path)
    assert_only_deer(tmp_path)


@pytest.mark.usefixtures("deer")
def test_an_incomplete_folder_is_not_overwritten(server, tmp_path, make_sequence):
    folder = make_sequence(tmp_path / "otb", images=range(1, 10))
    with pytest.raises(UserError, match=r"Deer is in the way: .*\(img/0010\.jpg is missing\); move or remove it"):
        fetch(server, tmp_path)
    assert len(list((folder / "img").iterdir())) == 9
    assert server.requests == []


@pytest.mark.usefixtures("deer")
def test_a_place_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "otb").write_text("a file")
    with pytest.raises(UserError, match=r"Cannot write the sequence to .*Deer"):
        fetch(server, tmp_path)


def test_an_unknown_sequence_is_refused_before_anything_is_fetched(server, tmp_path):
    with pytest.raises(UserError, match="did you mean"):
        fetch(server, tmp_path, "Deer", "Dear2")
    assert server.requests == []


@pytest.mark.usefixtures("deer")
def test_a_download_that_grows_beyond_any_sequence_is_stopped(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MAX_UNPACKED_BYTES", 100)
    with pytest.raises(UserError, match=r"Deer\.zip is larger than any sequence"):
        fetch(server, tmp_path)
    assert list((tmp_path / "otb").iterdir()) == []


def test_only_http_is_spoken(tmp_path):
    with pytest.raises(UserError, match="must begin with http"):
        download.download(["Deer"], tmp_path, base_url="file:///tmp")


@pytest.mark.usefixtures("deer")
def test_progress_is_shown_on_stderr(server, tmp_path, capfd):
    download.download(["Deer"], tmp_path, base_url=f"{server.url}/")
    shown = capfd.readouterr()
    assert "Deer" in shown.err
    assert shown.out == ""
