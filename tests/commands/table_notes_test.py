"""Lines below the table of an evaluation."""

from jaxtrack import trackers
from jaxtrack.commands import _table_notes
from jaxtrack.evaluation.runner import Entry
from jaxtrack.weights import places, store


def test_the_file_of_each_trackers_weights_is_told(tmp_path, monkeypatch):
    entries = [Entry(name, name, trackers.default_config(name)) for name in ("deeptrack", "siamban_nano", "opencv-mil")]
    entries.append(Entry("mine", "siamban", trackers.default_config("siamban_nano")))
    name = "siamban_nano.safetensors"
    files = [f"siamban_nano: weights {store.SHIPPED / name}", f"mine: weights {store.SHIPPED / name}"]
    assert _table_notes.weights(entries) == files
    monkeypatch.setenv(places.FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / name).touch()
    assert _table_notes.weights(entries)[0] == f"siamban_nano: weights {tmp_path / name}"
