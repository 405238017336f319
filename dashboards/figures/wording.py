"""How metrics and hyperparameters are called on axes, with their units."""

from typing import Final

_SPLITS: Final = {"train": "training", "val": "validation", "test": "test"}

_UNITS: Final = {
    "accuracy": "share of examples, 0 to 1",
    "error": "share of examples, 0 to 1",
    "pixel_accuracy": "share of pixels, 0 to 1",
    "precision": "0 to 1",
    "recall": "0 to 1",
    "f1": "0 to 1",
    "mean_iou": "0 to 1",
    "r2": "1 is perfect",
    "psnr": "dB",
    "rmse": "in units of the target",
    "mae": "in units of the target",
    "loss": "mean per example",
    "batch_loss": "mean per example of one batch",
}

_COSTS: Final = {
    "multiply_adds": "multiply-adds per example",
    "parameters": "parameters",
    "images_per_second": "images per second in training",
    "batch_size": "batch size (examples)",
    "seconds": "training time (s)",
    "lr": "learning rate",
}


def axis_title(column: str) -> str:
    """Name a column of the frames on an axis: `validation accuracy (share of examples, 0 to 1)`."""
    if column in _COSTS:
        return _COSTS[column]
    unit = _UNITS.get(column.rpartition("/")[2])
    return f"{metric_words(column)} ({unit})" if unit else column


def metric_words(column: str) -> str:
    """Name a column of the frames in a sentence: `validation accuracy`."""
    split, _, name = column.rpartition("/")
    words = name.replace("_", " ")
    return f"{_SPLITS[split]} {words}" if split in _SPLITS else _COSTS.get(column, column)


def counted(number: int, noun: str) -> str:
    """Write a number of things: `1 trial`, `3 trials`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
