import types

import numpy as np
import pytest

from jaxtrack.data import benchmarks, otb
from jaxtrack.data.sequences import Benchmark, Sequence
from jaxtrack.errors import UserError


def toy(name, width):
    return Sequence(name, np.zeros((4, 8, 8, 3), np.uint8), np.full((4, 4), width, float), np.ones(4, bool))


def toys(_):
    return Benchmark("toys", "Toys", [toy("Red ball", 1), toy("Blue ball", 2), toy("Duck", 3)])


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv("JAXTRACK_DATA", raising=False)


@pytest.fixture
def with_toys(monkeypatch):
    """Only OTB's lists and a benchmark that needs no files are declared."""
    plugin = types.SimpleNamespace(__name__="toys", BENCHMARKS={"toys": toys})
    monkeypatch.setattr(benchmarks, "_modules", lambda: (otb, plugin))


@pytest.fixture
def data(tmp_path, make_sequence):
    """A folder with two of OTB's sequences."""
    make_sequence(tmp_path / "otb", "Skiing", range(1, 82))
    make_sequence(tmp_path / "otb")
    return tmp_path


def test_benchmarks_of_all_modules_are_listed():
    assert {"otb2013", "tb50", "otb100"} <= set(benchmarks.names())


@pytest.mark.usefixtures("with_toys")
def test_a_benchmark_needs_nothing_but_its_declaration():
    assert benchmarks.names() == ["otb2013", "tb50", "otb100", "toys"]
    assert benchmarks.load("toys").title == "Toys"


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("otb100", "otb100"),
        ("OTB-100", "otb100"),
        ("otb2015", "otb100"),
        ("TB100", "otb100"),
        ("cvpr13", "otb2013"),
        ("TB-50", "tb50"),
    ],
)
def test_other_names_of_a_benchmark_are_understood(data, spelling, name):
    if name == "tb50":
        assert benchmarks.canonical_name(spelling) == name
    else:
        assert benchmarks.load(spelling, data).name == name


@pytest.mark.parametrize("spelling", ["otb50", "OTB-50"])
def test_otb50_is_refused_because_it_may_mean_two_lists(data, spelling):
    with pytest.raises(UserError, match=r"may mean OTB-2013 .* or TB-50 .*: say otb2013 or tb50$"):
        benchmarks.load(spelling, data)


def test_an_unknown_benchmark_is_answered_with_a_suggestion():
    with pytest.raises(UserError, match=r"no benchmark called 'otb2014': did you mean .*otb2013.*\?$"):
        benchmarks.load("otb2014")


def test_the_environment_names_the_data_folder_unless_one_is_given(data, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXTRACK_DATA", str(data))
    assert len(benchmarks.load("otb100").sequences) == 2
    with pytest.raises(UserError, match="nowhere does not exist"):
        benchmarks.load("otb100", tmp_path / "nowhere")


def test_a_selection_keeps_the_benchmarks_order_and_says_so(data):
    benchmark = benchmarks.load("otb100", data, ("skiing", "DEER"))
    assert [sequence.name for sequence in benchmark.sequences] == ["Deer", "Skiing"]
    assert benchmark.title == "2 selected of the 100 sequences of OTB-100"
    assert benchmark.missing == ()


def test_a_selection_is_not_stopped_by_another_sequence_that_is_broken(data):
    (data / "otb" / "Skiing" / "img" / "0005.jpg").unlink()
    assert len(benchmarks.load("otb100", data, ("Deer",)).sequences) == 1
    with pytest.raises(UserError, match=r"Skiing: image 0005\.jpg is missing"):
        benchmarks.load("otb100", data)


def test_a_selected_sequence_must_be_there(data):
    with pytest.raises(UserError, match=r"^Jogging-2 of OTB-100 not found below .*: expected a folder Jogging "):
        benchmarks.load("otb100", data, ("Deer", "Jogging-2"))


def test_a_selected_sequence_must_belong_to_the_benchmark(data):
    with pytest.raises(UserError, match="Biker is a sequence of OTB-100 but not of OTB-2013"):
        benchmarks.load("otb2013", data, ("Biker",))


def test_an_unknown_sequence_is_answered_with_a_suggestion(data):
    with pytest.raises(UserError, match="no sequence of OTB-100 called 'Skying': did you mean Skiing"):
        benchmarks.load("otb100", data, ("Skying",))


def test_a_suggestion_ends_its_own_sentence(data):
    with pytest.raises(UserError, match=r"did you mean .*Jogging.*\? It is in .*vot2014.*: name the benchmark by"):
        benchmarks.load("otb100", data, ("jogging",))


@pytest.mark.usefixtures("with_toys")
def test_a_sequence_of_other_benchmarks_is_answered_with_their_names():
    with pytest.raises(UserError, match=r"of Toys called 'deer': .*; it is in otb2013, tb50, otb100: name the benchm"):
        benchmarks.load("toys", None, ("deer",))
    with pytest.raises(UserError, match=r"Vase is a sequence of OTB-100 but not of TB-50: .*; it is in otb100: name"):
        benchmarks.load("tb50", None, ("Vase",))
    with pytest.raises(UserError, match=r"there are Red ball, Blue ball, Duck$"):
        benchmarks.load("toys", None, ("zzz",))


def test_an_empty_selection_is_refused(data):
    with pytest.raises(UserError, match="No sequence of OTB-100 was selected"):
        benchmarks.load("otb100", data, ())


def test_a_folder_without_sequences_is_answered_with_what_to_do(tmp_path):
    (tmp_path / "otb").mkdir()
    (tmp_path / "otb.zip").write_text("not a folder")
    with pytest.raises(UserError) as caught:
        benchmarks.load("otb100", tmp_path)
    for part in (f"in {tmp_path}, {tmp_path / 'otb'};", "--data-dir", "JAXTRACK_DATA", "/img/0001.jpg", "--download"):
        assert part in str(caught.value)


def test_no_folder_at_all_is_answered_with_what_to_do():
    with pytest.raises(UserError, match=r"No sequence of OTB-100 found: no data folder was given; .*--data-dir"):
        benchmarks.load("otb100")


@pytest.mark.usefixtures("with_toys")
def test_a_benchmark_without_files_is_selected_from_and_listed_like_any_other(tmp_path):
    benchmark = benchmarks.load("toys", tmp_path / "nowhere", ("duck", "red_ball"))
    assert [sequence.name for sequence in benchmark.sequences] == ["Red ball", "Duck"]
    assert benchmark.title == "2 selected of the 3 sequences of Toys"
    assert [(info.name, info.frames, info.box_size) for info in benchmarks.catalogue("toys")] == [
        ("Red ball", 4, (1, 1)),
        ("Blue ball", 4, (2, 2)),
        ("Duck", 4, (3, 3)),
    ]
    with pytest.raises(UserError, match=r"no sequence of Toys called 'dock': did you mean Duck\?"):
        benchmarks.load("toys", None, ("dock",))


@pytest.mark.usefixtures("with_toys")
def test_summaries_count_what_is_at_hand(data):
    assert benchmarks.summaries(data) == [
        benchmarks.Summary("otb2013", "OTB-2013", 51, 2),
        benchmarks.Summary("tb50", "TB-50", 50, 2),
        benchmarks.Summary("otb100", "OTB-100", 100, 2),
        benchmarks.Summary("toys", "Toys", 3, 3),
    ]
    assert [summary.found for summary in benchmarks.summaries()] == [0, 0, 0, 3]


def test_a_catalogue_lists_all_sequences_found_or_not(data):
    infos = benchmarks.catalogue("otb2015", data)
    assert len(infos) == 100
    assert [info.name for info in infos if info.found] == ["Deer", "Skiing"]


def test_two_benchmarks_of_one_name_are_a_programming_error(monkeypatch):
    twin = types.SimpleNamespace(__name__="twin", BENCHMARKS={"otb100": toys})
    monkeypatch.setattr(benchmarks, "_modules", lambda: (otb, twin))
    with pytest.raises(ValueError, match="'otb100' of twin is declared elsewhere"):
        benchmarks.names()
