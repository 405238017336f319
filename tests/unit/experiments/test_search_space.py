import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.errors import SpecError
from experiments.language.kinds import Faults
from experiments.search_space import Expansion, expand
from experiments.spec import read_spec

SMALL = "{name: small, layers: [flatten, {linear: 8}, activation, {linear: classes}]}"


def expanded(space: str, *, task: str = "classification") -> Expansion:
    faults = Faults("t")
    result = expand(read_spec("name: t\n" + space).space, faults, task=task)
    faults.raise_any()
    return result


def labels(space: str) -> list[str]:
    return [variant.label for variant in expanded(space).variants]


def test_the_first_parameter_varies_slowest() -> None:
    assert labels("parameters: {model: mlp, activation: [relu, tanh], lr: [0.1, 0.01]}") == [
        "relu lr=0.1",
        "relu lr=0.01",
        "tanh lr=0.1",
        "tanh lr=0.01",
    ]


def test_defaults_hold_where_nothing_varies_them() -> None:
    (variant,) = expanded("defaults: {model: mlp, lr: 0.5, epochs: 3}").variants
    assert (variant.value("lr"), variant.value("epochs"), variant.value("batch_size")) == (
        0.5,
        3,
        64,
    )
    assert variant.label == "mlp"


def test_parameters_win_over_defaults() -> None:
    (variant,) = expanded("defaults: {lr: 0.5}\nparameters: {model: mlp, lr: 0.1}").variants
    assert variant.value("lr") == 0.1


def test_zipped_parameters_vary_together() -> None:
    space = """
parameters: {model: mlp, lr: [0.1, 0.2]}
zip:
  - {optimizer: [sgd, adam], schedule: [cosine, constant]}
"""
    assert labels(space) == [
        "sgd lr=0.1 cosine",
        "adam lr=0.1 constant",
        "sgd lr=0.2 cosine",
        "adam lr=0.2 constant",
    ]


def test_a_condition_limits_a_parameter_to_the_variants_it_matches() -> None:
    space = """
parameters:
  model: [mlp, {name: vgg, depth: 11}, vgg16]
  lr: 0.1
  dropout: {when: {model: vgg}, values: [0.0, 0.5]}
"""
    assert labels(space) == [
        "mlp",
        "vgg11 dropout=0",
        "vgg11 dropout=0.5",
        "vgg16 dropout=0",
        "vgg16 dropout=0.5",
    ]


def test_a_condition_may_stand_before_what_it_reads() -> None:
    space = """
parameters:
  momentum: {when: {optimizer: sgd}, values: [0.0, 0.9]}
  model: mlp
  lr: 0.1
  optimizer: [sgd, adam]
"""
    assert labels(space) == ["sgd momentum=0", "sgd momentum=0.9", "adam"]


def test_a_condition_that_does_not_hold_leaves_the_default() -> None:
    space = """
defaults: {epochs: 2}
parameters: {model: [mlp, lenet5], lr: 0.1, epochs: {when: {model: mlp}, values: [7]}}
"""
    assert [variant.value("epochs") for variant in expanded(space).variants] == [7, 2]


@pytest.mark.parametrize(
    "entry",
    [
        "{model: vgg, lr: 0.1}",
        "{model: vgg11, lr: 0.1}",
        "{model: {name: vgg}, lr: 0.1}",
        "{model: {depth: 11}, lr: [0.1, 7]}",
        "{model: [vgg, resnet], lr: 0.1}",
    ],
)
def test_an_exclusion_matches_by_name_or_by_the_options_given(entry: str) -> None:
    result = expanded(f"parameters: {{model: [mlp, vgg11], lr: [0.1, 0.2]}}\nexclude: [{entry}]")
    assert [variant.label for variant in result.variants] == [
        "mlp lr=0.1",
        "mlp lr=0.2",
        "vgg11 lr=0.2",
    ]
    assert [(item.variant, item.reason) for item in result.excluded] == [
        ("vgg11 lr=0.1", f"exclude: {_text(entry)}")
    ]


def _text(entry: str) -> str:
    exclusion = read_spec(f"name: t\nparameters: {{model: mlp, lr: 1}}\nexclude: [{entry}]").space
    return exclusion.exclude[0].text


def test_an_exclusion_that_matches_nothing_is_said() -> None:
    result = expanded("parameters: {model: mlp, lr: 0.1}\nexclude: [{lr: 0.3}]")
    assert result.warnings == ("exclude lr=0.3 matches no variant",)


def test_included_points_are_laid_over_the_defaults_and_named() -> None:
    space = """
defaults: {epochs: 9}
parameters: {model: mlp, lr: 0.1}
exclude: [{lr: 0.5}]
include: [{model: lenet5, lr: 0.5, label: classic}]
"""
    grid, extra = expanded(space).variants
    assert (grid.label, extra.label) == ("mlp lr=0.1", "classic")
    assert (extra.value("lr"), extra.value("epochs")) == (0.5, 9)


def test_included_points_alone_are_no_grid() -> None:
    assert labels("include: [{model: mlp, lr: 0.1}]") == ["mlp"]


def test_an_included_point_that_the_grid_has_names_it() -> None:
    result = expanded(
        "parameters: {model: mlp, lr: [0.1, 0.2]}\n"
        "include: [{model: mlp, lr: 0.2, label: favourite}]"
    )
    assert [variant.label for variant in result.variants] == ["lr=0.1", "favourite"]
    assert result.num_merged == 1


def test_variants_that_differ_only_in_what_does_not_apply_are_merged() -> None:
    space = (
        f"parameters: {{model: [softmax_regression, {SMALL}], lr: 0.1, activation: [relu, tanh]}}"
    )
    result = expanded(space)
    assert [variant.label for variant in result.variants] == [
        "softmax_regression",
        "small relu",
        "small tanh",
    ]
    assert result.num_merged == 1
    assert result.warnings == (
        "activation applies to models with hidden layers only: 1 variants go without",
    )


def test_a_setting_that_no_variant_uses_is_said() -> None:
    result = expanded("defaults: {step_factor: 0.5}\nparameters: {model: mlp, lr: 0.1}")
    assert result.warnings == ("step_factor applies to schedule step only: no variant uses it",)


def test_a_missing_value_is_a_fault_that_says_who_needs_it() -> None:
    faults = Faults("t")
    space = read_spec("name: t\nparameters: {model: mlp, lr: 1, schedule: step}").space
    expand(space, faults, task="classification")
    with pytest.raises(Exception, match=r"'step_epochs' is missing \(schedule step needs one\)"):
        faults.raise_any()


def test_two_models_of_one_name_are_told_apart() -> None:
    assert labels("parameters: {lr: 1, model: [{name: mlp, hidden: [8]}, {name: mlp}]}") == [
        "mlp hidden=8",
        "mlp",
    ]


def test_a_condition_that_never_holds_is_said() -> None:
    space = """
parameters:
  model: [mlp, lenet5]
  lr: 0.1
  dropout: {when: {model: vgg, lr: [0.1, 0.2]}, values: [0.0, 0.5]}
"""
    assert expanded(space).warnings[0] == (
        "dropout varies nowhere: no variant has model=vgg, lr=[0.1, 0.2]"
    )


def test_a_condition_that_holds_somewhere_is_not_remarked() -> None:
    space = """
parameters: {model: [mlp, lenet5], lr: 0.1, epochs: {when: {model: mlp}, values: [7]}}
"""
    assert expanded(space).warnings == ()


def test_a_variant_excluded_twice_is_listed_once() -> None:
    space = """
parameters: {model: [softmax_regression, mlp], lr: 0.1, activation: [relu, tanh, elu]}
exclude: [{model: softmax_regression}]
"""
    assert [item.variant for item in expanded(space).excluded] == ["softmax_regression"]


def test_two_labels_for_one_included_point_are_a_fault() -> None:
    space = """
defaults: {model: mlp, lr: 0.1}
include: [{lr: 0.2, label: one}, {lr: 0.2, label: two}]
"""
    with pytest.raises(
        SpecError, match=r"include\[1\]: the same point as include\[0\], labelled 'one'"
    ):
        expanded(space)


def test_a_label_given_to_a_point_included_without_one_holds() -> None:
    space = """
defaults: {model: mlp, lr: 0.1}
include: [{lr: 0.2}, {lr: 0.2, label: two}]
"""
    assert labels(space) == ["two"]


def test_a_label_of_ours_gives_way_to_a_users() -> None:
    space = """
parameters: {model: mlp, lr: [0.1, 0.2]}
include: [{model: mlp, lr: 0.3, label: lr=0.1}, {model: mlp, lr: 0.4, label: 'lr=0.1 #2'}]
"""
    assert labels(space) == ["lr=0.1 #3", "lr=0.2", "lr=0.1", "lr=0.1 #2"]


def test_labels_tell_numbers_apart_that_differ_late() -> None:
    space = "parameters: {model: mlp, lr: [0.1234567, 0.1234568, 5.0e-4, 1]}"
    assert labels(space) == ["lr=0.1234567", "lr=0.1234568", "lr=0.0005", "lr=1"]


def test_networks_are_told_apart_whose_options_differ_late() -> None:
    space = """
parameters: {lr: 1, model: [{name: vgg, width: 0.1234567}, {name: vgg, width: 0.1234568}]}
"""
    assert labels(space) == ["vgg16 width=0.1234567", "vgg16 width=0.1234568"]


def test_an_exclusions_text_cannot_steer_a_terminal() -> None:
    space = """
parameters: {model: mlp, lr: 1, optimizer: [sgd, adam]}
exclude: [{model: "own\\e[2J"}]
"""
    with pytest.raises(SpecError) as caught:
        expanded(space)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("task", "loss", "output"),
    [
        ("classification", "cross_entropy", "softmax"),
        ("binary", "binary_cross_entropy", "sigmoid"),
        ("regression", "mean_squared_error", "linear"),
        ("reconstruction", "mean_squared_error", "linear"),
        ("segmentation", "cross_entropy", "softmax"),
    ],
)
def test_loss_and_output_follow_from_the_task(task: str, loss: str, output: str) -> None:
    (variant,) = expanded("parameters: {model: mlp, lr: 1}", task=task).variants
    assert (variant.value("loss"), variant.value("output_activation")) == (loss, output)


def test_a_default_that_follows_from_a_loss_is_no_part_of_a_label() -> None:
    space = "parameters: {model: mlp, lr: 1, loss: [cross_entropy, euclidean]}"
    result = expanded(space)
    assert [v.value("output_activation") for v in result.variants] == ["softmax", "linear"]
    assert [v.label for v in result.variants] == ["cross_entropy", "mean_squared_error"]


def test_a_default_that_is_set_aside_is_part_of_labels() -> None:
    space = "parameters: {model: mlp, lr: 1, output_activation: [softmax, sigmoid]}"
    assert labels(space) == ["output_activation=softmax", "output_activation=sigmoid"]


def test_a_condition_waits_for_what_a_default_follows_from() -> None:
    space = """
parameters:
  model: mlp
  lr: {when: {output_activation: linear}, values: [0.1, 0.2]}
  loss: [cross_entropy, mean_squared_error]
defaults: {lr: 1}
"""
    assert labels(space) == [
        "cross_entropy lr=1",
        "mean_squared_error lr=0.1",
        "mean_squared_error lr=0.2",
    ]


def test_a_condition_on_what_follows_from_the_same_key_is_a_circle() -> None:
    space = """
parameters:
  model: mlp
  lr: 1
  loss: {when: {output_activation: linear}, values: [hinge]}
"""
    with pytest.raises(SpecError, match=r"loss\.when: the conditions of loss go in a circle"):
        expanded(space)


def test_momentum_is_nesterovs_own_unless_it_is_given() -> None:
    space = "parameters: {model: mlp, lr: 1, optimizer: [sgd, nesterov, rmsprop, adam]}"
    result = expanded(space)
    assert [v.value("momentum") for v in result.variants] == [0.0, 0.9, 0.0, None]
    assert [v.label for v in result.variants] == ["sgd", "nesterov", "rmsprop", "adam"]


def test_one_cycle_has_a_warm_up_of_its_own() -> None:
    space = """
defaults: {model: mlp, lr: 1, warmup_epochs: 2}
parameters: {schedule: [cosine, one_cycle]}
"""
    result = expanded(space)
    assert [v.value("warmup_epochs") for v in result.variants] == [2.0, None]
    assert result.warnings == (
        "warmup_epochs applies to schedule constant, step, cosine only: 1 variants go without",
    )


def test_how_far_images_move_is_left_open_and_belongs_to_what_moves_them() -> None:
    space = """
defaults: {model: mlp, lr: 1}
parameters: {augmentation: [none, flip, shift]}
include: [{augmentation: shift, augmentation_pixels: 2}]
"""
    result = expanded(space)
    assert [v.value("augmentation_pixels") for v in result.variants] == [None, None, None, 2]
    assert [v.label for v in result.variants] == ["augmentation=none", "flip", "shift", "shift #2"]


def test_weights_by_chance_are_told_from_those_of_a_trained_network() -> None:
    space = """
defaults: {model: mlp, lr: 1}
parameters: {init: [none, {from: pretrain}, {from: pretrain, freeze: none}]}
exclude: [{init: none}]
"""
    result = expanded(space)
    assert [v.label for v in result.variants] == ["init=pretrain", "init=pretrain freeze=none"]
    assert [item.variant for item in result.excluded] == ["init=none"]


_LABELS = st.sampled_from(["x", "lr=0.1", "lr=0.1 #2", "lr=0.2", "mlp", "mlp #2", "adam lr=0.1"])


@settings(max_examples=100, deadline=None)
@given(
    rates=st.lists(st.sampled_from([0.1, 0.2, 0.3]), min_size=1, unique=True),
    names=st.lists(_LABELS, max_size=5, unique=True),
)
def test_labels_are_unique_whatever_the_user_calls_a_variant(
    rates: list[float], names: list[str]
) -> None:
    included = [
        {"model": "mlp", "lr": 1 + number, "label": name} for number, name in enumerate(names)
    ]
    space = {
        "name": "t",
        "parameters": {"model": "mlp", "lr": rates, "optimizer": ["sgd", "adam"]},
        "include": included,
    }
    variants = expand(read_spec(space).space, Faults("t"), task="classification").variants
    assert len({variant.label for variant in variants}) == 2 * len(rates) + len(names)
    assert [variant.label for variant in variants[2 * len(rates) :]] == names


@settings(max_examples=50, deadline=None)
@given(
    lrs=st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=5, unique=True),
    epochs=st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True),
)
def test_a_grid_is_the_product_of_its_lists_and_labels_are_unique(
    lrs: list[float], epochs: list[int]
) -> None:
    space = {"name": "t", "parameters": {"model": "mlp", "lr": lrs, "epochs": epochs}}
    faults = Faults("t")
    result = expand(read_spec(space).space, faults, task="classification")
    assert [(v.value("lr"), v.value("epochs")) for v in result.variants] == [
        (lr, epoch) for lr in lrs for epoch in epochs
    ]
    assert len({variant.label for variant in result.variants}) == len(lrs) * len(epochs)
