import types

from jaxtrack.evaluation.report import sources


def stored(config, tracker="opencv-mil", **info):
    """What the report reads of a stored run."""
    identity = {"tracker": tracker, "config": config, "seed": 1, **info.pop("identity", {})}
    info = {"id": "a1", "identity": identity, "created": "2020-01-01", **info}
    return types.SimpleNamespace(id="a1", tracker=tracker, seed=1, identity=identity, info=info)


def pairs(run):
    return dict(sources.facts("row", "", ["a1"], {"a1": run}).pairs)


def test_the_configuration_of_an_unknown_tracker_is_shown_whole():
    [text] = pairs(stored({"rate": 2}, tracker="gone"))["Differs from the default configuration in"]
    assert text == 'gone is no tracker of this version; the whole configuration: {"rate": 2}'


def test_nested_entries_that_differ_are_named_by_their_path():
    found = sources._differences({"a": {"b": 1, "c": [1, 2]}, "d": 0, "new": 5}, {"a": {"b": 1, "c": [1]}, "d": 0})
    assert found == [("a.c", [1, 2], [1]), ("new", 5, "not there")]


def test_what_else_determines_the_boxes_is_told():
    run = stored({}, identity={"batch_width": 4, "protocol": {"name": "TRE"}})
    assert pairs(run)["Other terms"] == ["4 videos share one program", 'protocol: {"name": "TRE"}']
    assert "Other terms" not in pairs(stored({}, identity={"batch_width": 1}))


def test_a_run_in_two_environments_has_two_rows():
    environments = [{"since": "2020-01-01", "devices": {"kind": "cpu", "count": 1}}, {"since": "2021-01-01"}]
    table = sources.facts("row", "", ["a1"], {"a1": stored({}, environments=environments)}).table
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["a1", "1", "2020-01-01", "cpu", "unknown", "unknown"],
        ["a1", "1", "2021-01-01", "unknown", "unknown", "unknown"],
    ]


def test_the_remark_on_test_data_is_told():
    run = stored({})
    assert ("Remark", ("tuned on toys",)) in sources.facts("row", "tuned on toys", ["a1"], {"a1": run}).pairs
    assert "Remark" not in pairs(run)
