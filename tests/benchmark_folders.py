"""Reading the benchmarks that are folders."""

from jaxtrack.data import benchmarks


def only_sequence(name, folder, **options):
    """The sequence of a benchmark of which there is one."""
    [sequence] = benchmarks.load(name, folder, **options).sequences
    return sequence


def numbers(sequence):
    """The numbers of the images of a sequence."""
    return [int("".join(filter(str.isdigit, path.stem))) for path in sequence.frames.paths]
