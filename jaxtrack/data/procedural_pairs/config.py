"""What the pairs are like."""

import dataclasses

from jaxtrack.data.augmentation import SEARCH, TEMPLATE, Augmentation
from jaxtrack.errors import UserError, check_numbers

_SHARES = (
    "negative",
    "gray",
    "distractor",
    "sibling",
    "occlusion",
    "largest_occlusion",
    "camouflage",
    "clutter",
    "other_place",
    "companion",
    "border",
    "degradation",
    "bodies",
    "photo",
)


@dataclasses.dataclass(frozen=True)
class PairConfig:
    """Probabilities of what makes a pair hard, and how strong it is."""

    template: Augmentation = TEMPLATE
    """Shift and scale of the template's window; colour, blur and flip are left to the caller."""
    search: Augmentation = SEARCH
    """Shift and scale of the search region's window."""
    negative: float = 0.2
    """Share of pairs whose search region shows another object than the template."""
    gray: float = 0.2
    """Share of pairs without colour."""
    distractor: float = 0.4
    """Probability that each of four other objects is in the search region."""
    sibling: float = 0.55
    """Share of the other objects that have the target's family of shapes and similar colours."""
    occlusion: float = 0.3
    """Probability that something hides a part of the target in the search region."""
    largest_occlusion: float = 0.6
    """The largest share of the target that is hidden, roughly."""
    camouflage: float = 0.4
    """Probability that the target has the background's colours, more or less."""
    clutter: float = 0.5
    """Share of backgrounds that are full of shapes; the others have a few."""
    other_place: float = 0.25
    """Probability that the search region has another background than the template."""
    companion: float = 0.3
    """Probability that the target is joined to something outside its box, as a face is to a body."""
    border: float = 0.2
    """Probability, for each image, that the video's border is near and the mean colour fills what lies beyond."""
    degradation: float = 0.25
    """Probability of each of blur or low resolution, motion blur and compression."""
    change: float = 1.0
    """Strength of the target's changes from template to search region: pose, shape and light."""
    bodies: float = 0.2
    """Share of targets whose parts start from those of the built-in benchmark's bodies; 0 keeps them unseen."""
    photo: float = 0.5
    """Share of pairs that use the given textures, where there are any."""

    def __post_init__(self) -> None:
        """Refuses what is no probability."""
        check_numbers(self, not_negative=(*_SHARES, "change"))
        for name in _SHARES:
            if getattr(self, name) > 1:
                raise UserError(f"{name} of PairConfig must be at most 1, not {getattr(self, name):g}")
