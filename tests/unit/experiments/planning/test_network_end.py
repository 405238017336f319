from typing import Any

import pytest

from experiments.architectures.architecture import Architecture
from experiments.planning.network_end import last_function
from experiments.planning.workload import Network

CONV = {"conv2d": {"out_channels": 3, "kernel_size": 1}}


@pytest.mark.parametrize(
    ("layers", "end"),
    [
        ([CONV, "softmax"], "1 softmax"),
        ([CONV, "softmax", "flatten"], "1 softmax"),
        (["flatten", {"linear": 16}, "sigmoid", {"reshape": [1, 4, 4]}], "2 sigmoid"),
        ([CONV, "softmax", {"dropout": 0.5}, {"tap": "a"}], "1 softmax"),
        ([CONV, "softmax", {"upsample": 2}], "1 softmax"),
        ([CONV, "softmax", {"upsample": {"scale": 2, "mode": "bilinear"}}], "1 softmax"),
        ([CONV, "softmax", {"activation": "linear"}], "1 softmax"),
        ([{"patches": {"size": 2, "layers": ["flatten", {"linear": 3}, "softmax"]}}],
         "0.layers.2 softmax"),
        ([CONV, "leaky_relu"], "1 leaky_relu"),
        ([CONV, "sigmoid", CONV], None),
        ([CONV, "sigmoid", "batch_norm"], None),
        ([CONV, "softmax", {"adaptive_avg_pool2d": 1}, "flatten"], None),
        ([{"residual": {"body": ["sigmoid"]}}], None),
        ([CONV, {"tap": "a"}, "sigmoid", {"add": "a"}], None),
        (["flatten"], None),
    ],
)  # fmt: skip
def test_the_last_function_is_found_behind_layers_that_keep_values(
    layers: list[Any], end: str | None
) -> None:
    data = {"name": "n", "input_shape": [1, 4, 4], "layers": layers}
    found = last_function(Network.of(Architecture.from_data(data)))
    assert (found and f"{found[1].path} {found[0].name}") == end
