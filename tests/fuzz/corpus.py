"""Specs to mutate beside the recipes: together they use every key of the language."""

from typing import Final

SPECS: Final = (
    """
version: 1
name: everything
description: |
  Two lines,
  for a question.
tags: {team: vision, year: 2026, ok: true, ratio: 0.5}
task: classification
data: {name: fake, image_shape: [3, 32, 32], classes: 10, examples: 500, val_fraction: 0.2,
       split_seed: 3, limit: 400}
objective: {metric: val/loss, goal: minimize, select: last}
search: {method: grid}
defaults: {epochs: 2, optimizer: sgd, momentum: 0.9, weight_decay: 5.0e-4, schedule: step,
           step_epochs: 1, step_factor: 0.5, warmup_epochs: 0.5}
parameters:
  model:
    - lenet5
    - {name: mlp, hidden: [32, 16], batch_norm: true}
    - {name: vgg, depth: 11, width: 0.05, batch_norm: true}
    - {name: resnet18, width: 0.05}
    - name: own
      layers:
        - conv2d: {out_channels: 8, kernel_size: [3, 3], stride: 1, padding: same, bias: false}
        - batch_norm
        - activation
        - residual:
            body: [{conv2d: {out_channels: 8, kernel_size: 3, padding: 1}}, relu]
            shortcut: [{conv2d: {out_channels: 8, kernel_size: 1}}]
        - max_pool2d: {kernel_size: 2, stride: 2}
        - avg_pool2d: 2
        - adaptive_avg_pool2d: 2
        - dropout
        - flatten
        - linear: {out_features: 16, bias: false}
        - leaky_relu: 0.2
        - activation: tanh
        - dropout: 0.1
        - linear: classes
  activation: [relu, elu]
  loss: {values: [cross_entropy, mean_squared_error], when: {model: [own, {name: vgg}]}}
  lr: [0.001, 1e-2]
  dropout: {when: {model: {depth: 11}}, values: [0.0, 0.5]}
zip:
  - {batch_size: [16, 32], epochs: [1, 2]}
exclude:
  - {model: mlp, lr: 0.001}
  - {model: {name: vgg, width: 0.05}, activation: relu}
include:
  - {model: lenet5, activation: tanh, lr: 0.05, batch_size: 8, label: lenet-1998}
seeds: [0, 7, 11]
early_stop: {method: none}
resources: {cpus: 1, gpus: 0.5}
execution: {timeout: 1.5h, retries: 3, max_failed_trials: null, priority: -1, precision: float32,
            max_trials: 500}
checkpoints: {every_epochs: 2, keep: [best]}
""",
    """
name: bikes
data: {name: image_folder, path: photos/bikes, image_size: [24, 32]}
parameters: {model: softmax_regression, lr: 0.1}
""",
    """
name: folder
data: {name: image_folder, path: bikes, image_size: null}
parameters: {model: [mlp, keras_convnet], lr: {values: 0.1, when: {model: mlp}}}
defaults: {lr: 0.5}
""",
    """
name: transfer
data: {name: fake, image_shape: [1, 8, 8], classes: 4, examples: 300, normalise: none}
tags: {team: vision, api_key: s3same}
objective: {metric: val/loss}
defaults: {lr: 0.01, epochs: 3, schedule: cosine, warmup_epochs: 1}
parameters:
  model:
    - softmax_regression
    - {name: head, layers: [flatten, {linear: 8}, batch_norm, relu, {linear: classes}]}
  init:
    - none
    - {from: normed, freeze: none}
    - {from: normed, layers: last, freeze: 2}
    - {from: normed, layers: second_to_last, freeze: features}
  loss: [cross_entropy, mean_squared_error]
""",
    """
name: torchvision
data: {name: fake, image_shape: [3, 32, 32], classes: 4, examples: 300}
parameters:
  model:
    - torchvision/resnet18
    - {name: torchvision/resnet50, weights: IMAGENET1K_V2}
    - {name: torchvision/vgg11_bn, weights: null}
  lr: 0.01
  batch_size: [16, 32]
""",
)
