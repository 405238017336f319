import pytest

from experiments.cookbook import FIRST, TOPICS, Recipe, recipe, recipes
from experiments.errors import NotFoundError
from experiments.spec import read_spec


def test_recipes_are_in_the_order_of_their_topics_the_first_one_first() -> None:
    found = recipes()
    assert found[0].name == FIRST
    places = [TOPICS.index(item.topic) for item in found]
    assert places == sorted(places)
    assert set(places) == set(range(len(TOPICS)))


@pytest.mark.parametrize("item", recipes(), ids=lambda item: item.name)
def test_a_recipe_says_its_question_what_to_expect_and_how_long_it_takes(item: Recipe) -> None:
    assert item.question.endswith("?")
    assert item.expect.endswith(".")
    assert item.takes.endswith(".")
    assert item.time
    assert read_spec(item.text).name == item.name


def test_the_time_of_a_recipe_is_its_first_clause() -> None:
    def time(takes: str) -> str:
        return Recipe("r", TOPICS[0], "q?", "e.", takes, "").time

    assert time("a minute on two cores; downloads MNIST.") == "a minute on two cores"
    assert time("a second to plan.") == "a second to plan"


def test_a_recipe_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"no recipe 'quikstart'; did you mean 'quickstart'\?"):
        recipe("quikstart")
    with pytest.raises(NotFoundError, match=r"known recipes: .*quickstart"):
        recipe("../../etc/passwd")
