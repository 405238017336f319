import pytest

from experiments.architectures.transfer import InitChoice
from experiments.errors import SpecError
from experiments.hyperparameters import HYPERPARAMETERS, Follows, describe, scalar
from experiments.language.kinds import INVALID, Faults
from experiments.language.source import from_values
from experiments.tasks import TASKS


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("categorical_cross_entropy", "cross_entropy"),
        ("logistic", "binary_cross_entropy"),
        ("euclidean", "mean_squared_error"),
        ("hinge", "hinge"),
    ],
)
def test_a_loss_is_read_by_any_of_its_names(alias: str, name: str) -> None:
    faults = Faults("t")
    assert HYPERPARAMETERS["loss"].kind.read(from_values(alias), "loss", faults) == name
    assert not faults
    assert alias in HYPERPARAMETERS["loss"].kind.schema()["enum"]


@pytest.mark.parametrize(
    ("key", "given", "meant"),
    [
        ("loss", "categorical_crossentropy", "categorical_cross_entropy"),
        ("loss", "BinaryCrossEntropy", "binary_cross_entropy"),
        ("loss", "MSE", "mean_squared_error"),
        ("loss", "mae", "mean_absolute_error"),
        ("loss", "ce", "cross_entropy"),
        ("loss", "bce", "binary_cross_entropy"),
        ("optimizer", "SGD", "sgd"),
        ("optimizer", "Adam", "adam"),
    ],
)
def test_what_others_call_it_is_understood_as_a_mistake(key: str, given: str, meant: str) -> None:
    faults = Faults("t")
    assert HYPERPARAMETERS[key].kind.read(from_values(given), key, faults) is INVALID
    with pytest.raises(SpecError, match=f"got '{given}'; did you mean '{meant}'"):
        faults.raise_any()


def test_the_loss_of_a_task_is_one_that_can_be_read() -> None:
    for task in TASKS.values():
        faults = Faults("t")
        read = HYPERPARAMETERS["loss"].kind.read(from_values(task.loss), "loss", faults)
        assert read is not INVALID


def test_a_default_follows_from_what_stands_before_it() -> None:
    names = list(HYPERPARAMETERS)
    for name, parameter in HYPERPARAMETERS.items():
        if isinstance(parameter.default, Follows):
            assert all(names.index(key) < names.index(name) for key in parameter.default.keys)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("optimizer", "adam", "adam"),
        ("lr", 0.1, "lr=0.1"),
        ("augmentation", "flip", "flip"),
        ("augmentation", "none", "augmentation=none"),
        ("output_activation", "sigmoid", "output_activation=sigmoid"),
        ("init", None, "init=none"),
        ("init", InitChoice("pretrain"), "init=pretrain"),
    ],
)
def test_a_label_says_what_a_value_is_of(key: str, value: object, text: str) -> None:
    assert describe(key, value) == text
    assert str(scalar(key, value)) in text
