"""Files of weights of NanoTrack v1, for the tests of what is stored and of what is read."""

import hashlib
import json

import safetensors.numpy

from jaxtrack.weights.store import Meta

NANO = "nanotrack_v1"
KERNEL = "params/backbone/stem/conv/kernel"
META = Meta(NANO, "nanotrackv1.pth", "ab" * 32, note="a note, één")


def record(path):
    return path.with_suffix(".json")


def change_record(path, **fields):
    record(path).write_text(json.dumps(json.loads(record(path).read_text()) | fields))


def rewrite(path, change):
    """Another content of the arrays' file, with a record that agrees."""
    arrays = safetensors.numpy.load(path.read_bytes())
    change(arrays)
    path.write_bytes(safetensors.numpy.save(arrays))
    change_record(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
