"""The cases: what is trained, and what is wrong with it on purpose.

Two halves with other networks, rates and seeds: thresholds were chosen on "tuned" alone, and
"held out" says what they are worth.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

TUNED: Final = "tuned"
HELD_OUT: Final = "held out"

DIGITS: Final = {"name": "digits", "val_fraction": 0.56}
FEW_DIGITS: Final = {"name": "digits", "val_fraction": 0.9}
FEW_NOISY_DIGITS: Final = {"name": "digits", "val_fraction": 0.9, "label_noise": 0.2}
NOISY_DIGITS: Final = {**DIGITS, "label_noise": 0.25}


@dataclass(frozen=True, slots=True)
class Case:
    """One run. `fault` is empty where nothing is wrong by intent.

    `trick` names what is done to the training beside the spec (`tricks.py`).
    """

    name: str
    half: str
    fault: str
    settings: Mapping[str, Any]
    data: Mapping[str, Any] = field(default_factory=lambda: DIGITS)
    task: str = "classification"
    seed: int = 0
    trick: str = ""

    @property
    def spec(self) -> dict[str, Any]:
        """Give the experiment of this one trial."""
        settings = {"optimizer": "sgd", "batch_size": 32, **self.settings}
        if settings["optimizer"] in {"sgd", "nesterov"}:
            settings = {"momentum": 0.9, **settings}
        model = settings.pop("model")
        return {
            "name": "labelled-curve",
            "task": self.task,
            "data": dict(self.data),
            "parameters": {"model": [model]},
            "defaults": settings,
            "seeds": [self.seed],
        }


def convnet(*channels: int, dropout: bool = False, batch_norm: bool = False) -> dict[str, Any]:
    """Give a convnet for images of 8 x 8."""
    layers: list[Any] = []
    for num in channels:
        layers.append({"conv2d": {"out_channels": num, "kernel_size": 3, "padding": "same"}})
        layers += ["batch_norm"] if batch_norm else []
        layers += ["activation", {"max_pool2d": 2}]
    layers += ["flatten"] + (["dropout"] if dropout else []) + [{"linear": "classes"}]
    return {"name": "convnet", "layers": layers}


def mlp(*hidden: int) -> dict[str, Any]:
    """Give a multi-layer perceptron."""
    return {"name": "mlp", "hidden": list(hidden)}


SMALL, WIDE = convnet(8, 16), convnet(16, 24)
MLP, DEEP = mlp(64), mlp(48, 48)
DROPPED, WIDE_DROPPED = (
    {
        "name": "dropped",
        "layers": ["flatten", {"linear": num}, "activation", "dropout", {"linear": "classes"}],
    }
    for num in (96, 128)
)
SOFTMAX: Final = "softmax_regression"
TOO_HOT: Final = {"name": "too_hot", "examples": 2000, "val_fraction": 0.6}
SUNSHINE: Final = {"name": "sunshine", "examples": 1600, "val_fraction": 0.6}
SCENES: Final = {"name": "digit_scenes", "examples": 90, "size": 32, "val_fraction": 0.55}
AUTOENCODER: Final = {"name": "autoencoder", "code": 16}
FCN: Final = {
    "name": "pixels",
    "layers": [
        {"conv2d": {"out_channels": 12, "kernel_size": 5, "padding": "same"}},
        "activation",
        {"conv2d": {"out_channels": 12, "kernel_size": 5, "padding": "same"}},
        "activation",
        {"conv2d": {"out_channels": "classes", "kernel_size": 1}},
    ],
}


def cases() -> tuple[Case, ...]:
    """Give all cases, by half and fault."""
    return tuple(
        Case(f"{fault or 'healthy'}-{half[0]}{i}", half, fault, **options)
        for fault, rows in _ROWS.items()
        for half in (TUNED, HELD_OUT)
        for i, options in enumerate(_of_half(rows, half))
    )


def _of_half(rows: list[tuple[Any, ...]], half: str) -> Iterator[dict[str, Any]]:
    for number, (tuned, held_out, *more) in enumerate(rows):
        settings = tuned if half == TUNED else held_out
        options = dict(more[0]) if more else {}
        seed = number if half == TUNED else 500 + number
        yield {"settings": settings, "seed": seed, **options}


def _of(model: Any, lr: float, epochs: int, **more: Any) -> dict[str, Any]:
    return {"model": model, "lr": lr, "epochs": epochs, **more}


_HEALTHY: Final = [
    (_of(SMALL, 0.03, 30), _of(WIDE, 0.02, 30)),
    (_of(SMALL, 0.05, 30, activation="tanh"), _of(WIDE, 0.03, 30, activation="leaky_relu")),
    (
        _of(SMALL, 3e-3, 25, optimizer="adam"),
        _of(WIDE, 2e-3, 25, optimizer="adam", activation="gelu"),
    ),
    (
        _of(MLP, 0.05, 40, weight_decay=1e-3),
        _of(DEEP, 0.03, 40, weight_decay=1e-3, activation="tanh"),
    ),
    (_of(SOFTMAX, 0.1, 40), _of(SOFTMAX, 0.1, 40, batch_size=64, weight_decay=1e-3)),
    (
        _of(convnet(8, 16, batch_norm=True), 0.05, 20, schedule="cosine"),
        _of(convnet(12, 12, batch_norm=True), 0.03, 20, schedule="one_cycle"),
    ),
    (_of(SMALL, 0.1, 40, batch_size=128), _of(WIDE, 0.1, 40, batch_size=128)),
    (_of(SMALL, 0.01, 25, batch_size=8), _of(MLP, 0.01, 25, batch_size=8)),
    (
        _of(convnet(12, 16, dropout=True), 0.02, 40, dropout=0.3),
        _of(convnet(8, 24, dropout=True), 3e-3, 40, dropout=0.2, optimizer="adamw"),
    ),
    (
        _of(MLP, 1e-3, 40, optimizer="rmsprop", schedule="cosine"),
        _of(DEEP, 1e-3, 30, optimizer="rmsprop", schedule="cosine"),
    ),
    (
        _of(SMALL, 0.05, 25, loss="mean_squared_error"),
        _of(WIDE, 0.05, 25, loss="kullback_leibler_divergence"),
    ),
    (
        _of("logistic_regression", 0.02, 40, momentum=0.0),
        _of("logistic_regression", 0.05, 40, momentum=0.0),
        {"task": "binary", "data": TOO_HOT},
    ),
    (
        _of(SMALL, 0.02, 20, batch_size=16),
        _of(WIDE, 0.02, 20, batch_size=16),
        {"task": "binary", "data": {**DIGITS, "classes": [3, 8]}},
    ),
    (
        _of("linear_regression", 0.01, 40, momentum=0.0),
        _of("linear_regression", 0.005, 50, momentum=0.0),
        {"task": "regression", "data": SUNSHINE},
    ),
    (
        _of(AUTOENCODER, 3e-3, 60, optimizer="adam", output_activation="sigmoid"),
        _of({**AUTOENCODER, "code": 8}, 3e-3, 60, optimizer="adam", output_activation="sigmoid"),
        {"task": "reconstruction"},
    ),
    (
        _of(FCN, 0.01, 40, optimizer="adam", batch_size=8, schedule="cosine"),
        _of(FCN, 0.02, 40, optimizer="adam", batch_size=8, schedule="cosine", activation="tanh"),
        {"task": "segmentation", "data": SCENES},
    ),
]

_RATE_TOO_LOW: Final = [
    (_of(SMALL, 3e-4, 12, momentum=0.0), _of(WIDE, 5e-4, 12, momentum=0.0)),
    (_of(MLP, 1e-3, 10, momentum=0.0), _of(DEEP, 1e-3, 15, momentum=0.0)),
    (_of(SMALL, 1e-5, 15, optimizer="adam"), _of(WIDE, 2e-5, 10, optimizer="adam")),
    (_of(SOFTMAX, 5e-4, 12, momentum=0.0), _of(SOFTMAX, 1e-3, 8, momentum=0.0)),
    (
        _of(SMALL, 1e-3, 15, momentum=0.0, activation="tanh"),
        _of(MLP, 2e-5, 20, optimizer="adamw", activation="gelu"),
    ),
    (_of(MLP, 2e-3, 6, momentum=0.0, batch_size=16), _of(DEEP, 1e-4, 20, batch_size=16)),
    (_of(convnet(8, 8), 1e-4, 20), _of(convnet(16, 16), 1e-4, 12)),
    (
        _of(AUTOENCODER, 1e-5, 20, optimizer="adam", output_activation="sigmoid"),
        _of(AUTOENCODER, 7e-6, 25, optimizer="adam", output_activation="sigmoid"),
        {"task": "reconstruction"},
    ),
]

_RATE_FAR_TOO_HIGH: Final = [
    (
        _of("linear_regression", 1.0, 10),
        _of("linear_regression", 3.0, 8),
        {"task": "regression", "data": SUNSHINE},
    ),
    (
        _of("linear_regression", 0.2, 40, batch_size=8),
        _of("linear_regression", 0.3, 40),
        {"task": "regression", "data": SUNSHINE},
    ),
    (
        _of(SMALL, 20.0, 6, loss="mean_squared_error", output_activation="linear"),
        _of(WIDE, 30.0, 6, loss="mean_squared_error", output_activation="linear"),
    ),
    (_of(SOFTMAX, 300.0, 8), _of(SOFTMAX, 1000.0, 8)),
    (_of(MLP, 3.0, 8, activation="leaky_relu"), _of(DEEP, 10.0, 8, activation="leaky_relu")),
    (_of(AUTOENCODER, 10.0, 6), _of(AUTOENCODER, 30.0, 6), {"task": "reconstruction"}),
    (_of(MLP, 1.0, 8, optimizer="adam"), _of(DEEP, 2.0, 8, optimizer="adam", activation="gelu")),
]

_UNITS_KILLED: Final = [
    (_of(MLP, 0.03, 10), _of(DEEP, 0.02, 10), {"trick": "kill 90%"}),
    (_of(SMALL, 0.03, 10), _of(WIDE, 0.02, 10), {"trick": "kill 80%"}),
    (
        _of(SMALL, 2e-3, 12, optimizer="adam"),
        _of(MLP, 2e-3, 12, optimizer="adam"),
        {"trick": "kill 70%"},
    ),
    (_of(SMALL, 0.03, 10), _of(DEEP, 0.02, 10), {"trick": "kill 100%"}),
    (_of(mlp(128), 0.5, 10), _of(mlp(96, 96), 0.3, 10)),
    (_of(SMALL, 0.5, 8), _of(WIDE, 0.4, 8)),
    (_of(SMALL, 0.05, 15, optimizer="adam"), _of(MLP, 0.1, 15, optimizer="adam")),
]

_NOTHING_LEARNS: Final = [
    (_of(SMALL, 0.03, 8), _of(WIDE, 0.02, 10), {"trick": "shuffled labels"}),
    (_of(MLP, 0.02, 6), _of(DEEP, 0.02, 5), {"trick": "shuffled labels"}),
    (
        _of(MLP, 0.02, 8, activation="tanh"),
        _of(SMALL, 0.02, 8, activation="gelu"),
        {"trick": "no inputs"},
    ),
    (
        _of(mlp(*[32] * 8), 0.01, 10, activation="sigmoid"),
        _of(mlp(*[24] * 10), 0.02, 12, activation="sigmoid"),
    ),
    (
        _of(SMALL, 0.02, 10, batch_size=16),
        _of(WIDE, 0.02, 12, batch_size=16),
        {"task": "binary", "trick": "no inputs", "data": {**DIGITS, "classes": [3, 8]}},
    ),
    (_of(SMALL, 1.0, 8), _of(WIDE, 1.5, 8)),
]

_NO_INPUTS: Final = [
    (
        _of(mlp(16), 3e-3, 20, optimizer="adam"),
        _of(mlp(32), 0.01, 20, optimizer="adam"),
        {"task": "regression", "data": SUNSHINE, "trick": "no inputs"},
    ),
    (
        _of("linear_regression", 0.01, 30),
        _of("linear_regression", 0.02, 20),
        {"task": "regression", "data": SUNSHINE, "trick": "no inputs"},
    ),
    (
        _of(MLP, 0.05, 12, loss="mean_squared_error"),
        _of(DEEP, 0.05, 12, loss="mean_squared_error"),
        {"trick": "no inputs"},
    ),
    (
        _of(SMALL, 0.01, 10, loss="hinge"),
        _of(WIDE, 0.01, 10, loss="squared_hinge"),
        {"trick": "no inputs"},
    ),
    (
        _of(MLP, 0.05, 12, loss="mean_squared_error", output_activation="linear"),
        _of(SMALL, 0.05, 12, loss="mean_absolute_error"),
        {"trick": "shuffled labels"},
    ),
]

_RATE_TOO_HIGH: Final = [
    (_of(MLP, 0.3, 20, activation="tanh"), _of(DEEP, 0.2, 20, activation="tanh")),
    (_of(SMALL, 0.2, 20, activation="tanh"), _of(WIDE, 0.2, 20, activation="tanh")),
    (_of(SOFTMAX, 1.0, 20, batch_size=16), _of(SOFTMAX, 2.0, 20)),
    (
        _of(SMALL, 0.03, 20, optimizer="adam", activation="leaky_relu"),
        _of(WIDE, 0.03, 20, optimizer="adam", activation="leaky_relu"),
    ),
    (
        _of(MLP, 0.05, 20, optimizer="adam", activation="leaky_relu"),
        _of(DEEP, 0.03, 20, optimizer="adam", activation="gelu"),
    ),
    (_of(SOFTMAX, 0.3, 20, batch_size=4), _of(SOFTMAX, 0.5, 16, batch_size=8)),
    (_of(SOFTMAX, 0.5, 24, batch_size=16), _of(SOFTMAX, 0.3, 24, batch_size=8)),
    (_of(mlp(32), 0.1, 20, activation="tanh"), _of(mlp(48), 0.15, 20, activation="gelu")),
]

_RATE_TOO_HIGH_FOR_A_LINE: Final = [
    (
        _of("linear_regression", 0.2, 20, batch_size=8),
        _of("linear_regression", 0.1, 24, batch_size=4),
    ),
    (
        _of("linear_regression", 0.3, 30, batch_size=16),
        _of("linear_regression", 0.25, 20, batch_size=8),
    ),
    (
        _of("linear_regression", 0.15, 24, batch_size=4),
        _of("linear_regression", 0.2, 20, batch_size=4),
    ),
    (
        _of("linear_regression", 0.35, 30),
        _of("linear_regression", 0.3, 24, batch_size=16),
    ),
]

_RATE_TOO_HIGH_FOR_YES_OR_NO: Final = [
    (
        _of("logistic_regression", 3.0, 20, batch_size=8),
        _of("logistic_regression", 4.0, 24, batch_size=16),
    ),
    (_of("logistic_regression", 2.0, 30, batch_size=4), _of("logistic_regression", 8.0, 20)),
    (
        _of("logistic_regression", 5.0, 24, batch_size=16),
        _of("logistic_regression", 3.0, 30, batch_size=8),
    ),
    (_of("logistic_regression", 1.5, 20, batch_size=4), _of("logistic_regression", 6.0, 24)),
]

_NOT_SHUFFLED: Final = [
    (_of(SMALL, 0.03, 15), _of(WIDE, 0.02, 15), {"trick": "not shuffled"}),
    (_of(MLP, 0.05, 15), _of(DEEP, 0.03, 15, activation="tanh"), {"trick": "not shuffled"}),
]

_SMALL_DATA: Final = [
    (_of(DEEP, 0.05, 60), _of(mlp(96, 48), 0.05, 60)),
    (_of(mlp(128, 128), 0.01, 60, optimizer="adam"), _of(mlp(200), 0.01, 60, optimizer="adam")),
    (_of(SMALL, 0.01, 60, optimizer="adam"), _of(WIDE, 0.01, 60, optimizer="adam")),
    (_of(mlp(256), 0.1, 80), _of(mlp(160, 160), 3e-3, 80, optimizer="adam")),
    (_of(WIDE, 5e-3, 80, optimizer="adam"), _of(SMALL, 0.05, 80)),
]

_SMALL_NOISY_DATA: Final = [
    (_of(mlp(128), 0.05, 80), _of(mlp(96), 3e-3, 80, optimizer="adam")),
    (_of(SMALL, 5e-3, 80, optimizer="adam"), _of(WIDE, 0.03, 80)),
    (_of(DEEP, 0.03, 80, activation="tanh"), _of(MLP, 5e-3, 80, optimizer="adam")),
]

_NOISY_LABELS: Final = [
    (_of(WIDE, 3e-3, 30, optimizer="adam"), _of(convnet(24, 24), 2e-3, 30, optimizer="adam")),
    (_of(mlp(128), 0.05, 40), _of(mlp(96, 96), 0.05, 40)),
    (_of(SMALL, 0.03, 40, batch_size=16), _of(WIDE, 0.02, 30, batch_size=16)),
    (
        _of(MLP, 3e-3, 30, optimizer="adam", activation="tanh"),
        _of(DEEP, 3e-3, 30, optimizer="adam"),
    ),
    (_of(WIDE, 0.05, 40, activation="gelu"), _of(SMALL, 5e-3, 40, optimizer="adam")),
    (_of(mlp(256), 0.02, 60), _of(mlp(192), 1e-3, 60, optimizer="adam")),
    (_of(WIDE, 1e-3, 60, optimizer="adam"), _of(WIDE, 0.01, 60)),
    (_of(DEEP, 0.02, 60, activation="tanh"), _of(mlp(64, 64), 0.02, 60)),
]

_TOO_FEW_EPOCHS: Final = [
    (_of(SMALL, 0.02, 1), _of(WIDE, 0.02, 1)),
    (_of(SMALL, 0.02, 2), _of(WIDE, 0.01, 3)),
    (_of(MLP, 0.02, 3), _of(DEEP, 0.01, 4)),
    (_of(SMALL, 2e-3, 4, optimizer="adam"), _of(WIDE, 1e-3, 5, optimizer="adam")),
    (_of(SOFTMAX, 0.02, 5), _of(SOFTMAX, 0.03, 4)),
    (_of(MLP, 1e-3, 4, optimizer="adam"), _of(mlp(96), 5e-4, 6, optimizer="adam")),
    (
        _of(convnet(12, 12), 0.01, 4, activation="tanh"),
        _of(convnet(12, 16), 0.02, 3, activation="gelu"),
    ),
    (
        _of(AUTOENCODER, 2e-3, 6, optimizer="adam", output_activation="sigmoid"),
        _of(AUTOENCODER, 3e-3, 5, optimizer="adam", output_activation="sigmoid"),
        {"task": "reconstruction"},
    ),
    (
        _of("linear_regression", 0.01, 4, momentum=0.0),
        _of("linear_regression", 0.005, 8, momentum=0.0),
        {"task": "regression", "data": SUNSHINE},
    ),
]

_BURSTS: Final = [
    (_of(SMALL, 0.02, 20, activation="leaky_relu"), _of(WIDE, 0.01, 20, activation="leaky_relu")),
    (_of(MLP, 0.02, 20), _of(DEEP, 0.01, 30)),
    (_of(SMALL, 0.02, 20, activation="tanh"), _of(MLP, 0.02, 18, activation="gelu")),
    (_of(SOFTMAX, 0.05, 20), _of(SOFTMAX, 0.1, 20)),
    (_of(WIDE, 2e-3, 20, optimizer="adam"), _of(SMALL, 3e-3, 30, optimizer="adam")),
    (_of(mlp(128), 0.02, 30, activation="tanh"), _of(mlp(96), 0.03, 24)),
    (
        _of(MLP, 2e-3, 24, optimizer="adam", activation="tanh"),
        _of(DEEP, 2e-3, 20, optimizer="adam", activation="leaky_relu"),
    ),
]

_HARDER_TRAINING: Final = [
    (
        _of(convnet(12, 16, dropout=True), 0.03, 25, dropout=0.5),
        _of(convnet(16, 16, dropout=True), 0.02, 25, dropout=0.6),
    ),
    (_of(SMALL, 0.05, 40, augmentation="shift"), _of(WIDE, 0.03, 40, augmentation="shift")),
    (
        _of(DROPPED, 0.05, 40, dropout=0.5),
        _of(WIDE_DROPPED, 0.05, 40, dropout=0.6),
    ),
    (
        _of(SMALL, 0.02, 8, batch_size=64),
        _of(WIDE, 0.01, 8, batch_size=64),
        {"data": {**DIGITS, "label_noise": 0.3}},
    ),
]


def _all(rows: list[tuple[Any, ...]], **options: Any) -> list[tuple[Any, ...]]:
    return [(*row, options) for row in rows]


_ROWS: Final[Mapping[str, list[tuple[Any, ...]]]] = {
    "": _HEALTHY,
    "rate too low": _RATE_TOO_LOW,
    "rate far too high": _RATE_FAR_TOO_HIGH,
    "units killed": _UNITS_KILLED,
    "nothing to learn by": _NOTHING_LEARNS,
    "nothing in the inputs": _NO_INPUTS,
    "rate too high": [
        *_all(_RATE_TOO_HIGH, data=NOISY_DIGITS),
        *_all(_RATE_TOO_HIGH_FOR_A_LINE, task="regression", data=SUNSHINE),
        *_all(_RATE_TOO_HIGH_FOR_YES_OR_NO, task="binary", data=TOO_HOT),
    ],
    "not shuffled": _NOT_SHUFFLED,
    "small data": [
        *_all(_SMALL_DATA, data=FEW_DIGITS),
        *_all(_SMALL_NOISY_DATA, data=FEW_NOISY_DIGITS),
    ],
    "noisy labels": _all(_NOISY_LABELS, data={**DIGITS, "label_noise": 0.4}),
    "too few epochs": _TOO_FEW_EPOCHS,
    "a burst of rate": _all(_BURSTS, trick="burst"),
    "harder in training": _HARDER_TRAINING,
}
