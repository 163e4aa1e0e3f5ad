import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "scoring_speed.py"


@pytest.fixture
def script(monkeypatch):
    spec = importlib.util.spec_from_file_location("scoring_speed", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [str(PATH)])
    return module


def test_every_protocol_gets_a_row_for_every_size(script, monkeypatch, capsys):
    monkeypatch.setattr(script, "SIZES", {"small": (2, 5), "large": (3, 7)})
    script.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    expected = [
        (f"| {name}", size, protocol)
        for name, size in (("small", "2 x 5"), ("large", "3 x 7"))
        for protocol in ("otb", "pysot", "got10k", "pytracking")
    ]
    assert [tuple(row[:3]) for row in rows] == expected


def test_the_results_that_are_timed_are_neither_perfect_nor_hopeless(script, tmp_path):
    toy = script.benchmark("toy", 2, 50)
    script.write_results(toy, tmp_path)
    assert 0.2 < script.seconds(toy, tmp_path, script.protocols.OTB)[2] < 0.9
