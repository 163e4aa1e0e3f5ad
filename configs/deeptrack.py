"""DeepTrack on the CVPR 2013 benchmark, the main experiment of its paper.

python evaluate.py --tracker configs/deeptrack.py --benchmark otb2013 --data-dir DIR

The tracker's defaults are meant for everything, so nothing differs from them here. An experiment that changes some
writes `dataclasses.replace(default, v=0.8)`; docs/adding.md has an example.

Hardware: two CPU cores, about 14 frames per second, 35 minutes for the 29,486 frames. Reached: on the 13 real targets
of docs/deeptrack.md P@20 0.797 and SR@0.6 0.627 (means of three seeds); all of OTB-2013 has not been run.

The paper reports a precision at 20 px (its TP) of 0.83 and a success rate at an overlap of 0.6 (its TSR) of 0.63,
averaged over the sequences. The summary table calls them P@20 and SR@0.6.
"""

from jaxtrack.trackers import deeptrack


def config() -> deeptrack.Config:
    """The configuration of the experiment."""
    return deeptrack.CONFIGS["deeptrack"]
