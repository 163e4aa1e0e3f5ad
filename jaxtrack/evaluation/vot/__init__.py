"""The supervised protocol of the VOT challenges: runs with restarts, accuracy, robustness, expected average overlap.

* `regions`: overlap of regions, drawn as pixels.
* `measures`: accuracy, robustness and expected average overlap of trajectories.
* `interval`: the lengths over which the expected overlap is averaged.
* `ranks`: accuracy and robustness ranks with tests of equivalence (VOT2013, VOT2014).
* `supervised`: runs a tracker over a sequence and starts it again after every failure.
* `results`: trajectories on disk.
* `runner`: runs trackers over a benchmark, keeping what is finished.
* `tables`: what is printed and written.
* `plots`: EAO curves, A-R plots and A-R rank plots.
"""
