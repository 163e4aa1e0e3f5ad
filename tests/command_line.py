"""Command lines that are refused, for the tests of the commands."""

from jaxtrack.__main__ import main


def error_of(command, capsys, *arguments):
    """The one line on stderr of a command line that is refused, and that says nothing on stdout."""
    assert main([command, *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("error: ")
    return line
