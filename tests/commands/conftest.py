"""What the command line runs on in a second: two videos in OTB's layout, a training, weights of NanoTrack v1."""

import cv2
import jax
import numpy as np
import pytest
import tiny_training
from tiny_videos import frames, write_file

from jaxtrack import trackers
from jaxtrack.__main__ import main
from jaxtrack.models.siamese import ARCHITECTURES
from jaxtrack.weights import names, pytorch

# Fewer samples than by default: the same code in a fifth of the time.
FAST_MIL = [
    "--opencv-mil.search-radius-px=6",
    "--opencv-mil.init-max-negatives=8",
    "--opencv-mil.track-max-negatives=8",
]


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """`otb/Deer` (71 images) and `otb/Football1` (74): a square of 8 x 8 pixels on its way to the right and back."""
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for name, length in (("Deer", 71), ("Football1", 74)):
        ground = cv2.GaussianBlur(random.integers(0, 255, (36, 48, 3), np.uint8), (0, 0), 2)
        folder = root / "otb" / name / "img"
        folder.mkdir(parents=True)
        rows = []
        for i in range(length):
            x = 10 + abs((i + 12) % 24 - 12)
            image = ground.copy()
            image[12:20, x : x + 8] = (20, 60, 250)
            image[14:18, x + 2 : x + 6] = (250, 60, 20)
            cv2.imwrite(str(folder / f"{i + 1:04d}.jpg"), image)
            rows.append(f"{x + 1},13,8,8")
        (folder.parent / "groundtruth_rect.txt").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def options(data_dir, tmp_path):
    """The options of a run of OpenCV's MIL on the two videos, into `tmp_path / "results"`."""
    # Both are named, so that nothing is said of the 49 others.
    where = ["--benchmark=otb2013", f"--data-dir={data_dir}", f"--results={tmp_path / 'results'}", "--quiet"]
    return ["--tracker=opencv-mil", "--sequences=Deer,Football1", *where, *FAST_MIL]


@pytest.fixture(scope="session")
def four_devices():
    """Before `train` makes one of each core, as it does in a process of its own."""
    assert len(jax.devices()) == 4


@pytest.fixture
def tiny_architecture(four_devices, monkeypatch):
    """The network of `tiny_training` by its name."""
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny_training.ARCHITECTURE)


@pytest.fixture
def training_file(tiny_architecture, tmp_path):
    """A config file for `train`."""
    path = tmp_path / "mine.py"
    path.write_text(tiny_training.FILE)
    return path


@pytest.fixture
def state():
    """Random tensors under the names of a published NanoTrack v1."""
    random = np.random.default_rng(0)
    shapes = names.torch_names("nanotrack_v1")
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def published(state, tmp_path, monkeypatch):
    """A file that stands for a PyTorch file with these tensors, so that the test needs no torch; changes are seen."""
    path = tmp_path / "nano.pth"
    path.write_bytes(b"stands for a PyTorch file")
    monkeypatch.setattr(pytorch, "read", lambda _: dict(state))
    return path


@pytest.fixture
def imported(published, tmp_path, capsys):
    assert main(["weights", "import", str(published), "--out", str(tmp_path / "weights")]) == 0
    capsys.readouterr()
    return tmp_path / "weights" / "nanotrack_v1.safetensors"


@pytest.fixture
def tiny(monkeypatch):
    """The tiny tracker stands among the others, as `tiny`."""
    import tiny_track  # not above: it makes arrays, and devices are added after this module is imported

    declared = {**trackers._declared(), "tiny": tiny_track.MODULE}
    monkeypatch.setattr(trackers, "_declared", lambda: declared)


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """20 frames: the first one, a whole chunk of 16, and a part of another."""
    return write_file(tmp_path_factory.mktemp("clips") / "clip.mp4", frames(20), "mp4v")


@pytest.fixture
def out(tmp_path):
    """The folder of what is written."""
    return tmp_path / "out"
