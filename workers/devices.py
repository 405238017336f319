"""The device a worker trains on, and how it must be set so that numbers repeat."""

import os
import resource
import sys
from typing import Final

import torch
from torch import Tensor, nn

from experiments.planning.strategies import KERNELS_VERSION, Layout

_FEWEST_STRIDED_CHANNELS: Final = 8


def prepare_device(*, num_cpus: int, num_gpus: float) -> torch.device:
    """Set this process up for training, once, and give its device.

    A worker with any share of a GPU trains on the first one it can see; the pool decides
    which that is. On the CPU, results repeat to the last bit for the same number of
    threads.

    Args:
        num_cpus: CPU cores, and so threads, of the worker.
        num_gpus: GPUs of the worker; 0 for none, a fraction shares one.

    Raises:
        RuntimeError: The worker was given a GPU and torch finds none.
    """
    # Or MKL rounds a product by where in a line of the cache its matrices begin, and a trial's
    # last bits depend on who else is in its pack. MKL reads this at its first product.
    os.environ.setdefault("MKL_CBWR", "AUTO")
    torch.set_num_threads(num_cpus)
    if num_gpus == 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"the worker was given {num_gpus:g} GPU(s), but torch finds none: torch "
            f"{torch.__version__}, built for CUDA {torch.version.cuda}; check the driver, "
            "or set resources.gpus to 0"
        )
    # Kernels that repeat, and products in full float32 (not TF32, which has 10 bits).
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return torch.device("cuda", 0)


def wait_for(device: torch.device) -> None:
    """Wait until all that a device was asked to do is done; a CPU always is."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def memory_for(device: torch.device, *, share: float) -> int | None:
    """Give the bytes that a share of a GPU has; None for a CPU, which shares with everybody."""
    if device.type != "cuda":
        return None
    return int(share * torch.cuda.get_device_properties(device).total_memory)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Give a tensor of the CPU on a device, without waiting for what that does."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def free_bytes(device: torch.device) -> int | None:
    """Give the memory of a GPU that nobody holds; None for other devices."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def release_memory(device: torch.device) -> None:
    """Hand memory that nothing uses any more back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def forget_peak_memory(device: torch.device) -> None:
    """Start to measure a GPU's peak memory anew; that of a process cannot be forgotten."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def engine_text(device: torch.device) -> str:
    """Name what decides how fast a device trains, beside the machine: "torch 2.15.0, kernels 2"."""
    words = [f"torch {torch.__version__}", f"kernels {KERNELS_VERSION}"]
    if device.type == "cuda":
        words.append(torch.cuda.get_device_name(device))
    return ", ".join(words)


def peak_memory_bytes(device: torch.device) -> int:
    """Give the most that was held: on a GPU by this process's tensors, or by the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts kibibytes


def memory_layout(
    module: nn.Module, device: torch.device, *, wanted: Layout | None = None
) -> torch.memory_format:
    """Say in which order images should lie in memory for a network: as `wanted`, or by rule.

    On the CPU, convolutions are 1.1 to 1.6 times as fast with channels last (LeNet-5 and
    small networks, one thread); networks without any are not.
    """
    if wanted is not None:
        return torch.channels_last if wanted == "channels_last" else torch.contiguous_format
    if device.type == "cpu" and has_convolutions(module) and not _is_corrupting(module):
        return torch.channels_last
    return torch.contiguous_format


def _is_corrupting(module: nn.Module) -> bool:
    """Say whether a network would write where it must not, with channels last on a CPU.

    Torch 2.15's 1x1 convolutions of few channels with a stride do, on processors with AVX2 and
    without AVX-512 ("double free or corruption"); those of 8 channels or more were seen not to.
    """
    return any(
        isinstance(part, nn.Conv2d)
        and part.kernel_size == (1, 1)
        and part.stride != (1, 1)
        and part.in_channels < _FEWEST_STRIDED_CHANNELS
        for part in module.modules()
    )


def has_convolutions(module: nn.Module) -> bool:
    """Say whether the layout of images matters to a network."""
    return any(isinstance(part, nn.Conv2d) for part in module.modules())
