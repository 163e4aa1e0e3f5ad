"""OpenCV's own trackers as baselines: they run on the host, frame by frame.

`opencv-mil` (Babenko, Yang and Belongie: "Robust Object Tracking with Online Multiple Instance Learning", PAMI 2011) is
in every build of OpenCV. `opencv-csrt` (Lukezic et al.: "Discriminative Correlation Filter with Channel and Spatial
Reliability", CVPR 2017) and `opencv-kcf` (Henriques et al.: "High-Speed Tracking with Kernelized Correlation Filters",
PAMI 2015) are only in its contrib builds.

What this adds to OpenCV:

* Runs repeat: MIL draws its Haar features with the C library's `rand`, its samples with OpenCV's generator; both are
  seeded when a session begins. CSRT and KCF draw nothing, all seeds give the same boxes.
* OpenCV takes boxes of whole pixels inside the image (MIL does not return, or runs out of memory, on others), so the
  first box is rounded, cut at the border and, if tiny, enlarged.
* A frame in which OpenCV loses the target, or gives up, has the last box and score 0; any other has score 1.
"""

import ctypes
import dataclasses
import logging
from typing import Any, ClassVar

import cv2
import numpy as np

from jaxtrack.data.naming import Named
from jaxtrack.data.sequences import check_image_size, check_init_box
from jaxtrack.errors import UserError, check_numbers
from jaxtrack.images import as_rgb
from jaxtrack.tracker import Prediction

_SWAP = "pip uninstall -y opencv-python-headless && pip install opencv-contrib-python-headless"
_log = logging.getLogger(__name__)


def _named(opencv_name: str, default: Any) -> Any:
    """A field that OpenCV calls otherwise."""
    return dataclasses.field(default=default, metadata={"opencv": opencv_name})


class _Checked:
    """Refuses numbers that OpenCV would answer with a crash, an endless loop or a tracker that never moves."""

    factory: ClassVar[str]
    min_side_px: ClassVar[int]

    def __post_init__(self):
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        check_numbers(self, positive=tuple(name for name, value in values.items() if not isinstance(value, bool)))


@dataclasses.dataclass(frozen=True)
class MilConfig(_Checked):
    """OpenCV's TrackerMIL: an online classifier over 250 Haar features, trained on bags of positive samples.

    The number of features is no option: OpenCV has it as a parameter, and fails with fewer than 250.
    """

    factory: ClassVar[str] = "TrackerMIL"
    min_side_px: ClassVar[int] = 5  # with 4 x 4 pixels OpenCV looks for a Haar feature for ever

    init_radius_px: float = _named("samplerInitInRadius", 3.0)
    """Radius around the target of the positive samples of the first frame."""
    init_max_negatives: int = _named("samplerInitMaxNegNum", 65)
    """Negative samples of the first frame at most."""
    search_radius_px: float = _named("samplerSearchWinSize", 25.0)
    """Radius around the last position in which the target is looked for."""
    track_radius_px: float = _named("samplerTrackInRadius", 4.0)
    """Radius around the target of the positive samples of later frames."""
    track_max_positives: int = _named("samplerTrackMaxPosNum", 100_000)
    """Positive samples of a later frame at most."""
    track_max_negatives: int = _named("samplerTrackMaxNegNum", 65)
    """Negative samples of a later frame at most."""


@dataclasses.dataclass(frozen=True)
class CsrtConfig(_Checked):
    """OpenCV's TrackerCSRT: a correlation filter with channel and spatial reliability, with scale."""

    factory: ClassVar[str] = "TrackerCSRT"
    min_side_px: ClassVar[int] = 2

    use_hog: bool = True
    """HOG features."""
    use_color_names: bool = True
    """Colour-name features."""
    use_gray: bool = True
    """The grey image as a feature."""
    use_rgb: bool = False
    """The colour image as a feature."""
    use_channel_weights: bool = True
    """Weigh the channels of the filter by their reliability."""
    use_segmentation: bool = True
    """Restrict the filter to the target's segmentation."""
    padding: float = 3.0
    """Side of the search region relative to the target's."""
    template_size: float = 200.0
    """Side to which the search region is resized, in pixels."""
    admm_iterations: int = 4
    """Iterations that find a filter."""
    filter_lr: float = 0.02
    """Learning rate of the filter."""
    weights_lr: float = 0.02
    """Learning rate of the channels' weights."""
    histogram_lr: float = 0.04
    """Learning rate of the segmentation's colour histograms."""
    number_of_scales: int = 33
    """Scales that are searched."""
    scale_step: float = 1.02
    """Factor between two scales."""
    scale_lr: float = 0.025
    """Learning rate of the scale filter."""
    psr_threshold: float = 0.035
    """Peak strength below which the target counts as lost."""


@dataclasses.dataclass(frozen=True)
class KcfConfig(_Checked):
    """OpenCV's TrackerKCF: a kernelised correlation filter of fixed scale."""

    factory: ClassVar[str] = "TrackerKCF"
    min_side_px: ClassVar[int] = 2

    detect_threshold: float = _named("detect_thresh", 0.5)
    """Response below which the target counts as lost."""
    sigma: float = 0.2
    """Width of the Gaussian kernel."""
    regularization: float = _named("lambda_", 1e-4)
    """Weight of the ridge penalty."""
    learning_rate: float = _named("interp_factor", 0.075)
    """Linear interpolation factor of the model's update."""
    output_sigma_factor: float = 0.0625
    """Width of the wanted response relative to the target."""
    pca_learning_rate: float = 0.15
    """Learning rate of the compression matrix."""
    resize: bool = True
    """Halve large targets."""
    split_coeff: bool = True
    """Split the training coefficients into two matrices."""
    wrap_kernel: bool = False
    """Wrap the kernel values around."""
    compress_feature: bool = True
    """Compress the features by principal components."""
    max_patch_size: int = 6400
    """Area of a target above which it is halved, in pixels."""
    compressed_size: int = 2
    """Number of features after compression."""
    desc_pca: int = 2
    """Features that are compressed: 1 grey, 2 colour names, 3 both."""
    desc_npca: int = 1
    """Features that are not compressed: 1 grey, 2 colour names, 3 both."""


Config = MilConfig | CsrtConfig | KcfConfig
CONFIGS = Named(
    "tracker of jaxtrack.trackers.opencv",
    {"opencv-mil": MilConfig(), "opencv-csrt": CsrtConfig(), "opencv-kcf": KcfConfig()},
)


class OpencvSession:
    """One run of one of OpenCV's trackers.

    Sessions of one process share the generators that `init` seeds: begin one, run it, then begin the next.
    """

    def __init__(self, config: Config, *, seed: int):
        self._factory, self._params = _factory(config)
        self._min_side_px = config.min_side_px
        self._seed = seed
        self._tracker: Any = None
        self._size: tuple[int, ...] = ()
        self._box = np.zeros(4, np.float32)
        self._warned = False

    def init(self, image: np.ndarray, box: Any) -> None:
        """Starts on an image, `uint8 [H, W, 3]` RGB, with the target's box (x, y, w, h) in pixels, 0-based."""
        image = as_rgb(image)
        self._box = check_init_box(box, image.shape[:2], "the first frame")
        self._size = image.shape[:2]
        _seed_generators(self._seed)
        self._tracker = self._factory(self._params)
        try:
            self._tracker.init(_bgr(image), whole_pixels(self._box, image.shape[:2], self._min_side_px))
        except cv2.error as error:
            self._warn(error)
            self._tracker = None

    def update(self, image: np.ndarray) -> Prediction:
        """Finds the target in the next image; numpy `box` float32 [4], `score` 1, or 0 where it is lost."""
        if not self._size:
            raise UserError("call init(image, box) before update(image)")
        image = as_rgb(image)
        check_image_size(image, self._size, "the image")
        found = self._find(image)
        if found is not None:
            self._box = found
        score = np.float32(found is not None)
        return Prediction(self._box.copy(), score, {})  # type: ignore[arg-type]

    def _find(self, image: np.ndarray) -> np.ndarray | None:
        if self._tracker is None:
            return None
        try:
            success, box = self._tracker.update(_bgr(image))
        except cv2.error as error:
            self._warn(error)
            return None
        return np.asarray(box, np.float32) if success and box[2] > 0 and box[3] > 0 else None

    def _warn(self, error: cv2.error) -> None:
        # A tracker that fails scores badly; stopping a benchmark of hours for it would help nobody.
        if not self._warned:
            _log.warning("OpenCV fails, the box stays at %s: %s", self._box.tolist(), str(error).strip())
        self._warned = True


def session(config: Config, *, seed: int) -> OpencvSession:
    """A fresh session of the tracker that `config` belongs to."""
    return OpencvSession(config, seed=seed)


def whole_pixels(box: Any, image_size: tuple[int, ...], min_side_px: int) -> tuple[int, int, int, int]:
    """A box as OpenCV takes it: rounded, cut at the image's border, no side shorter than `min_side_px`.

    >>> whole_pixels((-4.0, 2.6, 10.0, 8.2), (100, 200), 2)
    (0, 3, 6, 8)

    Args:
      box: `[4]`, (x, y, w, h), pixels, at least partly inside the image.
      image_size: (height, width) in pixels.
      min_side_px: shorter sides are lengthened about their middle, inside the image.
    """
    x, w = _whole_span(float(box[0]), float(box[2]), image_size[1], min_side_px)
    y, h = _whole_span(float(box[1]), float(box[3]), image_size[0], min_side_px)
    return x, y, w, h


def _whole_span(start: float, length: float, limit: int, least: int) -> tuple[int, int]:
    """First pixel and number of pixels of one side."""
    first, end = max(round(start), 0), min(round(start + length), limit)
    least = min(least, limit)
    if end - first >= least:
        return first, end - first
    first = (first + end - least) // 2
    return min(max(first, 0), limit - least), least


def _bgr(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[..., ::-1])


def _factory(config: Config) -> tuple[Any, Any]:
    """OpenCV's constructor of a tracker and the parameters to call it with."""
    tracker = getattr(cv2, config.factory, None)
    if tracker is None:
        raise UserError(
            f"OpenCV {cv2.__version__} as installed here has no {config.factory}, the contrib build has; "
            f"both install the same cv2, so swap them: {_SWAP}"
        )
    params = getattr(cv2, f"{config.factory}_Params")()
    for field in dataclasses.fields(config):
        setattr(params, field.metadata.get("opencv", field.name), getattr(config, field.name))
    return tracker.create, params


def _seed_generators(seed: int) -> None:
    cv2.setRNGSeed(seed % 2**31)
    libc = ctypes.cdll.msvcrt if hasattr(ctypes, "windll") else ctypes.CDLL(None)
    libc.srand(ctypes.c_uint(seed % 2**32))
