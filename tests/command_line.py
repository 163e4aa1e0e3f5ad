"""Command lines, those that are refused, and the boxes that they leave, for the tests of the commands."""

from jaxtrack.__main__ import main


def error_of(command, capsys, *arguments):
    """The one line on stderr of a command line that is refused, and that says nothing on stdout."""
    assert main([command, *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("error: ")
    return line


def without(options, start):
    """The options but those that begin with `start`."""
    return [option for option in options if not option.startswith(start)]


def box_files(results):
    """The content of every file of boxes, by its path."""
    files = (path for path in results.rglob("*.txt") if not path.name.endswith(".times.txt"))
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in files}
