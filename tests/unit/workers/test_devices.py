from collections.abc import Iterator

import pytest
import torch
from torch import nn

from workers.devices import engine_text, memory_layout, peak_memory_bytes, prepare_device


@pytest.fixture(autouse=True)
def restored_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_worker_without_gpus_trains_on_the_cpu_with_its_threads() -> None:
    assert prepare_device(num_cpus=3, num_gpus=0) == torch.device("cpu")
    assert torch.get_num_threads() == 3


def test_a_gpu_that_torch_cannot_find_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match=r"given 0\.5 GPU.*set resources\.gpus to 0"):
        prepare_device(num_cpus=1, num_gpus=0.5)


def test_convolutions_on_the_cpu_put_channels_last() -> None:
    convolution = nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 1)))
    assert memory_layout(convolution, torch.device("cpu")) == torch.channels_last
    assert memory_layout(convolution, torch.device("cuda")) == torch.contiguous_format
    assert memory_layout(nn.Linear(1, 1), torch.device("cpu")) == torch.contiguous_format


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [1, 7, 8])
def test_strided_convolutions_of_few_points_and_channels_keep_channels_first(
    channels: int, stride: int
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(channels, 8, 1, stride=stride))
    is_corrupting = stride == 2 and channels < 8
    layout = torch.contiguous_format if is_corrupting else torch.channels_last
    assert memory_layout(network, torch.device("cpu")) == layout


def test_an_engine_is_named_by_what_decides_how_fast_it_is() -> None:
    assert engine_text(torch.device("cpu")) == f"torch {torch.__version__}, kernels 2"


def test_a_layout_that_is_wanted_goes_before_the_rule() -> None:
    convolution, cpu = nn.Conv2d(1, 1, 1), torch.device("cpu")
    assert memory_layout(convolution, cpu, wanted="contiguous") == torch.contiguous_format
    cuda = torch.device("cuda")
    assert memory_layout(convolution, cuda, wanted="channels_last") == torch.channels_last


def test_a_process_remembers_the_most_that_it_held() -> None:
    before = peak_memory_bytes(torch.device("cpu"))
    held = torch.ones(before // 4 + 2**24)  # more than ever before, by 64 MiB
    del held
    assert peak_memory_bytes(torch.device("cpu")) >= before + 2**25
