import pytest

from jaxtrack.data.naming import Named, match_name
from jaxtrack.errors import UserError

NAMES = ["Jogging-1", "Jogging-2", "FaceOcc1", "Human4-2"]


@pytest.mark.parametrize("spelling", ["Jogging-1", "jogging_1", "Jogging.1", "JOGGING1", " jogging 1 "])
def test_case_and_punctuation_do_not_matter(spelling):
    assert match_name(spelling, NAMES, what="sequence") == "Jogging-1"


@pytest.mark.parametrize(("spelling", "name"), [("car1_1", "car1_1"), ("Car1-1", "car1_1"), ("CAR11", "car11")])
def test_two_numbers_stay_two(spelling, name):
    assert match_name(spelling, ["car1_1", "car11"], what="sequence") == name
    assert match_name(spelling, ["car11", "car1_1"], what="sequence") == name
    with pytest.raises(UserError, match="did you mean"):
        match_name("car1_1", ["car11"], what="sequence")


def test_an_alias_stands_for_a_name():
    assert match_name("human4", NAMES, what="sequence", aliases={"Human4": "Human4-2"}) == "Human4-2"


def test_a_name_goes_before_an_alias_of_the_same_spelling():
    assert match_name("faceocc1", NAMES, what="sequence", aliases={"FaceOcc1": "Human4-2"}) == "FaceOcc1"


def test_a_near_miss_is_answered_with_suggestions():
    with pytest.raises(UserError, match=r"no sequence called 'Joging': did you mean Jogging-\d or Jogging-\d\?$"):
        match_name("Joging", NAMES, what="sequence")


def test_a_name_and_its_alias_are_suggested_once():
    with pytest.raises(UserError, match=r"did you mean Human4-2\?$"):
        match_name("humann4", ["Human4-2"], what="sequence", aliases={"Human4": "Human4-2"})


def test_a_far_miss_is_answered_with_what_there_is():
    with pytest.raises(
        UserError, match=r"no sequence called 'xyz': there are Jogging-1, Jogging-2, FaceOcc1, Human4-2$"
    ):
        match_name("xyz", NAMES, what="sequence")


def test_a_long_list_is_cut():
    with pytest.raises(UserError, match=r"there are a0, .*a11, …$"):
        match_name("xyz", [f"a{number}" for number in range(13)], what="sequence")


def test_a_dictionary_of_names_takes_any_spelling():
    named = Named("sequence", {name: len(name) for name in NAMES})
    assert named["Human4-2"] == named["human4.2"] == 8
    assert "human4.2" not in named
    assert list(named) == NAMES


@pytest.mark.parametrize(("name", "end"), [("FaceOc", "did you mean FaceOcc1"), (None, "there are Jogging-1")])
def test_a_dictionary_of_names_answers_a_miss_with_a_sentence(name, end):
    with pytest.raises(UserError, match=f"no sequence called '{name}': {end}"):
        Named("sequence", dict.fromkeys(NAMES, 1))[name]
