"""Portraits of small networks that were really trained, one of each task."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from experiments.records import DataConfig, OptimizerConfig, TrialConfig
from workers.batches import standardise
from workers.criterion import Criterion
from workers.datasets.staged import StagedData
from workers.learner import Learner
from workers.losses import activate
from workers.modules import build_module
from workers.portrait import portray
from workers.portrait_records import (
    Limits,
    Portrait,
    Reconstruction,
    Segmentation,
    WrongAnswer,
    WrongValue,
)
from workers.predictor import Standardise

MakeConfig = Callable[..., TrialConfig]
StageSet = Callable[..., tuple[DataConfig, StagedData]]
CPU = torch.device("cpu")
CONV = [
    {"conv2d": {"out_channels": 6, "kernel_size": 3, "padding": "same"}},
    {"activation": "relu"},
    {"max_pool2d": 2},
    "flatten",
    {"dropout": 0.25},
]


@pytest.fixture
def trained(stage_set: StageSet, make_task_config: MakeConfig) -> Callable[..., Any]:
    """Train a network on a set; give it for raw inputs, with its trial's configuration and data."""

    def train(
        task: str,
        name: str,
        layers: list[Any],
        *,
        epochs: int = 2,
        lr: float = 0.05,
        **options: Any,
    ) -> tuple[nn.Module, TrialConfig, StagedData]:
        data_config, data = stage_set(name, **options)
        optimizer = OptimizerConfig("sgd", lr, momentum=0.9)
        config = make_task_config(
            task, data_config, data.input_shape, layers=layers, optimizer=optimizer, epochs=epochs
        )
        learner = Learner(config, data, device=CPU)
        for epoch in range(1, epochs + 1):
            learner.train_epoch(epoch, before_step=lambda _: None)
        shift = Standardise(data.mean, data.std, input_shape=data.input_shape)
        return nn.Sequential(shift, learner.module).eval(), config, data

    return train


def outputs_of(predictor: nn.Module, data: StagedData) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the raw outputs for the whole test split by another way, and its targets."""
    inputs, targets = data.test.gather(torch.arange(len(data.test)))
    with torch.no_grad():
        return predictor[1](standardise(inputs, data)), targets  # type: ignore[index]


def test_classification_shows_the_wrong_answers_that_cost_most(trained: Callable[..., Any]) -> None:
    predictor, config, data = trained("classification", "digits", [*CONV, {"linear": 10}])
    portrait = portray(predictor, config, data)
    outputs, targets = outputs_of(predictor, data)
    losses = nn.functional.cross_entropy(outputs, targets, reduction="none")
    wrong = torch.nonzero(outputs.argmax(dim=1) != targets)[:, 0]

    assert portrait.num_failures == len(wrong) > 0
    assert portrait.num_shown == portrait.num_examples == len(data.test)
    assert len(portrait.failures) == min(24, len(wrong))
    expected = sorted(wrong.tolist(), key=lambda index: -losses[index].item())
    found = [failure for failure in portrait.failures if isinstance(failure, WrongAnswer)]
    assert [failure.index for failure in found] == expected[: len(found)]
    for failure in found:
        shares = outputs[failure.index].softmax(dim=0)
        assert failure.true == data.class_names[targets[failure.index]]
        assert failure.predicted == data.class_names[shares.argmax()]
        assert failure.confidence == pytest.approx(shares.max().item(), abs=1e-5)
        assert failure.loss == pytest.approx(losses[failure.index].item(), rel=1e-4)
        raw = data.test.inputs[failure.index].numpy().transpose(1, 2, 0)
        assert failure.image is not None
        np.testing.assert_array_equal(
            failure.image, np.rint(raw * (255 / data.full_scale)).astype(np.uint8)
        )
    assert portrait.notes == ()


def test_filters_are_the_first_layers_weights_each_on_its_own_scale(
    trained: Callable[..., Any],
) -> None:
    predictor, config, data = trained("classification", "digits", [*CONV, {"linear": 10}])
    filters = portray(predictor, config, data, limits=Limits(filters=4)).filters
    assert filters is not None
    assert filters.layer == f"0 {config.architecture.layers[0].text}"
    assert filters.num_filters == 6
    assert filters.images.shape == (4, 3, 3, 1)
    weight = predictor[1][0].weight.detach()[:4, 0].numpy()
    scaled = weight / np.abs(weight).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(filters.images[..., 0], 128 + 127 * scaled, atol=0.51)


def test_units_of_a_linear_layer_are_shown_as_the_image_that_they_look_for(
    trained: Callable[..., Any],
) -> None:
    predictor, config, data = trained("classification", "digits", ["flatten", {"linear": 10}])
    filters = portray(predictor, config, data).filters
    assert filters is not None
    assert filters.images.shape == (10, 8, 8, 1)
    weight = predictor[1][1].weight.detach()[3].view(8, 8)
    place = np.unravel_index(int(weight.abs().argmax()), (8, 8))
    assert filters.images[3, *place, 0] in (1, 255)


def test_feature_maps_are_what_each_layer_makes_of_one_image(trained: Callable[..., Any]) -> None:
    predictor, config, data = trained("classification", "digits", [*CONV, {"linear": 10}])
    shown = portray(predictor, config, data, limits=Limits(channels=5)).feature_maps
    assert shown is not None
    assert [layer.layer.split()[0] for layer in shown.layers] == ["0", "1", "2", "5"]
    assert [layer.shape for layer in shown.layers] == [(6, 8, 8), (6, 8, 8), (6, 4, 4), (10,)]
    assert [layer.maps.shape for layer in shown.layers] == [
        (5, 8, 8),
        (5, 8, 8),
        (5, 4, 4),
        (1, 1, 10),
    ]
    signal = predictor[0](data.test.inputs[:1])
    for layer, module in zip(shown.layers[:3], predictor[1][:3], strict=True):
        signal = module(signal)
        whole = signal[0, :5].detach().numpy()
        assert (layer.low, layer.high) == pytest.approx((whole.min(), whole.max()))
        back = layer.low + layer.maps / 255 * (layer.high - layer.low)
        np.testing.assert_allclose(back, whole, atol=(layer.high - layer.low) / 500)
    assert not any(module._forward_hooks for module in predictor.modules())


def test_binary_answers_of_plain_numbers_are_told_with_their_inputs(
    trained: Callable[..., Any],
) -> None:
    predictor, config, data = trained("binary", "too_hot", [{"linear": 1}], epochs=1, lr=1e-4)
    portrait = portray(predictor, config, data)
    outputs, targets = outputs_of(predictor, data)
    assert portrait.num_failures == ((outputs[:, 0] > 0) != (targets > 0)).sum().item() > 0
    worst = portrait.failures[0]
    assert isinstance(worst, WrongAnswer)
    assert worst.image is None
    assert worst.features == pytest.approx(data.test.inputs[worst.index].tolist())
    assert worst.confidence is not None
    assert worst.confidence > 0.5
    assert {worst.true, worst.predicted} == set(data.class_names)
    assert portrait.filters is None
    assert portrait.feature_maps is None


def test_regression_shows_the_values_that_were_missed_by_most(trained: Callable[..., Any]) -> None:
    predictor, config, data = trained("regression", "sunshine", [{"linear": 1}], lr=0.01)
    portrait = portray(predictor, config, data)
    outputs, targets = outputs_of(predictor, data)
    worst = portrait.failures[0]
    assert isinstance(worst, WrongValue)
    assert worst.index == (outputs - targets).abs()[:, 0].argmax().item()
    assert worst.true == pytest.approx(targets[worst.index].tolist())
    assert worst.predicted == pytest.approx(outputs[worst.index].tolist(), rel=1e-4)
    assert portrait.num_failures is None


def test_reconstructions_go_from_the_worst_to_the_best(trained: Callable[..., Any]) -> None:
    layers = [{"conv2d": {"out_channels": 1, "kernel_size": 3, "padding": "same"}}]
    predictor, config, data = trained("reconstruction", "digits", layers)
    portrait = portray(predictor, config, data, limits=Limits(failures=3, reconstructions=5))
    outputs, _ = outputs_of(predictor, data)
    made = Criterion(config, data)
    found = activate(outputs, config.output_activation).double()
    wanted = made.targets(data.test.inputs, data.test.targets).double()
    psnr = -10 * (found - wanted).square().mean(dim=(1, 2, 3)).log10()
    shown = portrait.reconstructions
    assert len(shown) == 5
    assert [each.psnr for each in shown] == sorted(each.psnr for each in shown)
    assert shown[0].psnr == pytest.approx(psnr.min().item(), rel=1e-4)
    assert shown[-1].psnr == pytest.approx(psnr.max().item(), rel=1e-4)
    assert [type(each) for each in portrait.failures] == 3 * [Reconstruction]
    for each in shown:
        pixels = (255 * found[each.index].clamp(0, 1)).round().numpy().transpose(1, 2, 0)
        np.testing.assert_allclose(each.output, pixels, atol=1)
        assert each.image.shape == each.output.shape == (8, 8, 1)


def test_segmentations_show_true_and_predicted_masks_and_their_agreement(
    trained: Callable[..., Any],
) -> None:
    layers = [{"conv2d": {"out_channels": 11, "kernel_size": 3, "padding": "same"}}]
    predictor, config, data = trained(
        "segmentation", "digit_scenes", layers, epochs=4, examples=60, size=32
    )
    portrait = portray(predictor, config, data, limits=Limits(failures=2, segmentations=4))
    outputs, targets = outputs_of(predictor, data)
    answers = outputs.argmax(dim=1).numpy()
    assert [type(each) for each in portrait.failures] == 2 * [Segmentation]
    assert len(portrait.segmentations) == 4
    for each in portrait.segmentations:
        np.testing.assert_array_equal(each.true_mask, targets[each.index])
        np.testing.assert_array_equal(each.predicted_mask, answers[each.index])
        there = np.union1d(each.true_mask, each.predicted_mask)
        overlaps = [
            ((each.true_mask == c) & (each.predicted_mask == c)).sum()
            / ((each.true_mask == c) | (each.predicted_mask == c)).sum()
            for c in there
        ]
        assert each.iou == pytest.approx(np.mean(overlaps))
    assert [each.iou for each in portrait.segmentations] == sorted(
        each.iou for each in portrait.segmentations
    )


def untrained(config: TrialConfig, data: StagedData) -> nn.Module:
    shift = Standardise(data.mean, data.std, input_shape=data.input_shape)
    network = build_module(config.architecture, generator=torch.Generator().manual_seed(0))
    return nn.Sequential(shift, network).eval()


def portray_untrained(
    layers: list[Any], limits: Limits, digits: StagedData, make_config: MakeConfig
) -> Portrait:
    config = make_config(layers=layers)
    return portray(untrained(config, digits), config, digits, limits=limits)


def test_costly_network_is_tried_on_the_first_examples_and_that_is_said(
    digits: StagedData, make_config: MakeConfig
) -> None:
    layers = ["flatten", {"linear": 10}]  # 640 multiply-adds an image
    portrait = portray_untrained(layers, Limits(multiply_adds=20 * 640), digits, make_config)
    assert portrait.num_shown == 20 < portrait.num_examples
    assert max(failure.index for failure in portrait.failures) < 20
    (note,) = portrait.notes
    assert "first 20 of" in note

    least = portray_untrained(layers, Limits(multiply_adds=1), digits, make_config)
    assert least.num_shown == 16


def test_huge_network_has_no_pictures_and_a_reason(
    digits: StagedData, make_config: MakeConfig
) -> None:
    portrait = portray_untrained(
        ["flatten", {"linear": 10}], Limits(parameters=600), digits, make_config
    )
    assert (portrait.num_shown, portrait.failures, portrait.filters) == (0, (), None)
    assert "650 parameters" in portrait.notes[0]


def test_deep_network_shows_its_first_layers_and_says_of_how_many(
    digits: StagedData, make_config: MakeConfig
) -> None:
    layers = ["flatten", *({"linear": 10} for _ in range(5))]
    portrait = portray_untrained(layers, Limits(layers=3), digits, make_config)
    assert portrait.feature_maps is not None
    assert len(portrait.feature_maps.layers) == 3
    assert portrait.notes == ("Feature maps are of the first 3 of 5 layers.",)


def test_residual_network_with_taps_and_batch_norm_is_shown(
    digits: StagedData, make_config: MakeConfig
) -> None:
    layers = [
        "batch_norm",
        {"conv2d": {"out_channels": 4, "kernel_size": 3, "padding": "same"}},
        {"tap": "a"},
        {"conv2d": {"out_channels": 4, "kernel_size": 3, "padding": "same"}},
        {"add": ["a"]},
        "flatten",
        {"linear": 10},
    ]
    portrait = portray_untrained(layers, Limits(), digits, make_config)
    assert portrait.filters is not None
    assert portrait.filters.layer.startswith("1 ")
    assert portrait.feature_maps is not None
    assert [each.layer.split()[0] for each in portrait.feature_maps.layers] == list("01346")


def test_nan_outputs_are_wrong_answers_with_the_worst_loss(
    digits: StagedData, make_config: MakeConfig
) -> None:
    config = make_config(layers=["flatten", {"linear": 10}])
    predictor = untrained(config, digits)
    with torch.no_grad():
        predictor[1][1].weight.fill_(torch.nan)  # type: ignore[index]
    portrait = portray(predictor, config, digits)
    assert portrait.failures
    assert portrait.filters is not None
    assert portrait.feature_maps is not None
