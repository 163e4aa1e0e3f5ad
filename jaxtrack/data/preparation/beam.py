"""The same preparation on Apache Beam, for clusters; needs `apache-beam`, which jaxtrack does not install.

TFDS's own Beam path is bound to its builders, which are not used here (the package's docstring says why). A shard is an
element, and a worker writes it with the function that `jaxtrack prepare` calls: the data and the folder of the result
must be on a file system that all workers share.
"""

from typing import Any

from jaxtrack.data.preparation import shards
from jaxtrack.data.preparation.index import Index
from jaxtrack.data.preparation.runner import Preparation, finish, plan
from jaxtrack.data.preparation.shards import Shard
from jaxtrack.errors import UserError


def prepare_with_beam(config: Preparation, options: Any = None, runner: Any = None) -> Index:
    """Prepares a dataset by a Beam pipeline, waits for it, and writes the index.

    Args:
      config: what to prepare; `workers` is left to the runner.
      options: Beam's `PipelineOptions`.
      runner: a Beam runner or its name, by default the one of the options.

    Raises:
      UserError: Beam is not installed, or what `prepare` raises.
    """
    work = plan(config)
    with pipeline(options, runner) as root:
        write_shards(root, work)
    return finish(work, [shards.write_shard(shard) for shard in work])  # all there now: this reads their indexes


def pipeline(options: Any = None, runner: Any = None) -> Any:
    """A Beam pipeline, or `UserError` if Beam is not installed."""
    return _beam().Pipeline(runner=runner, options=options)


def write_shards(root: Any, work: list[Shard]) -> Any:
    """Adds the writing of shards to a pipeline; a collection of the numbers of records written."""
    beam = _beam()
    return root | "Shards" >> beam.Create(work) | "Spread" >> beam.Reshuffle() | "Write" >> beam.Map(_write)


def _write(shard: Shard) -> int:
    return len(shards.write_shard(shard).frames)


def _beam() -> Any:
    try:
        import apache_beam  # type: ignore[import-not-found]
    except ImportError as error:
        raise UserError("Apache Beam is not installed: in a checkout of jaxtrack, pip install -e '.[beam]'") from error
    return apache_beam
