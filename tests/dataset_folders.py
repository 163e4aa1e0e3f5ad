"""Tiny training sets in the layout that each is shipped in, written from explicit numbers."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from jaxtrack.data.preparation import Preparation, prepare
from jaxtrack.data.preparation.registry import DATASETS


def write_image(path, height=48, width=64, seed=0):
    """A JPEG of coarse noise, another one for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(cells, (width, height)))


def write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def write_xml(path, *objects, size=(64, 48)):
    """Objects are dictionaries of what they hold; `box` is (xmin, ymin, xmax, ymax)."""
    items = []
    for item in objects:
        names = ("xmin", "ymin", "xmax", "ymax")
        box = "".join(f"<{name}>{value}</{name}>" for name, value in zip(names, item["box"], strict=True))
        rest = "".join(f"<{name}>{value}</{name}>" for name, value in item.items() if name != "box")
        items.append(f"<object>{rest}<bndbox>{box}</bndbox></object>")
    width, height = size
    text = f"<annotation><size><width>{width}</width><height>{height}</height></size>{''.join(items)}</annotation>"
    write_lines(path, [text])


def write_got10k(root, lengths, split="train", start=1):
    """Videos of the given lengths, numbered from `start`; frame i of each has the box (10 + i, 12, 20, 10 + i)."""
    for number, length in enumerate(lengths, start):
        folder = root / split / f"GOT-10k_{split.title()}_{number:06d}"
        for i in range(length):
            write_image(folder / f"{i + 1:08d}.jpg", seed=100 * number + i)
        write_lines(folder / "groundtruth.txt", [f"{10 + i}.0,12.0,20.0,{10 + i}.0" for i in range(length)])
    return root


def prepared_got10k(root: Path, lengths, name="got10k", **options):
    """The folder of a prepared dataset of such videos, two videos a shard; `name` is the dataset it passes for."""
    write_got10k(root / "source", lengths)
    before = dict(DATASETS)
    DATASETS[name] = dataclasses.replace(DATASETS["got10k"], videos_per_shard=2)
    try:
        return prepare(Preparation(name, root / "source", root / "out", **options)).folder
    finally:
        DATASETS.clear()
        DATASETS.update(before)


def boxes(track):
    """(frame, box) of the frames of a track."""
    return [(annotation.frame, annotation.box_xyxy) for annotation in track.frames]


def images(track, root):
    """Paths of a track's images, relative to a folder."""
    return [str(annotation.path.relative_to(root)) for annotation in track.frames]
