"""Datasets on disk made ready for training: 511-pixel crops in ArrayRecord files that TFDS and Grain read.

`prepare` does it, `registry.DATASETS` lists the datasets, `tracks` says what the reader of another one must return.

The files are TFDS's: its feature encoding, its names, its metadata, so that `tfds.builder_from_directory(folder)` and
`as_data_source` read them without TensorFlow. They are not written by a `tfds.core.GeneratorBasedBuilder`, for three
reasons. It orders records by a hash, or else sends all of them through temporary files once more; here a track's
records must follow each other, so that the index of millions of records is a few offsets. It writes into a folder with
a random name that is removed when the process is killed; here finished shards are kept and the next call goes on. And
it knows the shards only when the last example is there, so that they cannot be written side by side; TFDS's
`ShardBasedBuilder` can, on Beam, but starts from nothing, too.
"""

from jaxtrack.data.preparation.runner import Preparation, Summary, prepare

__all__ = ["Preparation", "Summary", "prepare"]
