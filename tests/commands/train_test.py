from jaxtrack.__main__ import main


def test_training_says_that_it_is_not_there_yet_and_what_is(capsys):
    assert main(["train", "--steps", "3"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "cannot train networks offline yet" in line
    assert "evaluate.py" in line
