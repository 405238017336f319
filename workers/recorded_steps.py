"""Training steps recorded once as a CUDA graph, and replayed: the host starts one thing a step.

A step of a small network is some hundred operations of a few microseconds each; a GPU waits for
their starts more than it computes. What is replayed are the very kernels of the step, so numbers
stay what they are. Source: "CUDA semantics: CUDA Graphs" in torch's notes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from workers.fusion.fused_layers import FusedDropout
from workers.layer_modules import StreamDropout

Step = Callable[[Tensor, Tensor, Any], tuple[Tensor, Tensor]]
"""Inputs and targets of a batch, and its learning rate (of a pack one a member) -> its loss (or
losses), and the network's outputs. A step that is recorded takes its rates as a tensor."""

Work = Callable[[], tuple[Tensor, Tensor]]

_WARM_UP: Final = 3
"""Steps that are run before one is recorded: libraries choose and allocate in their first."""

STEPS_TO_RECORD: Final = _WARM_UP + 1
"""With so many full batches behind it, a step is recorded, and faster from then on."""


class Recorder(Protocol):
    """Records work of a device, so that it can be replayed."""

    def warm_up(self, work: Work) -> tuple[Tensor, Tensor]:
        """Do some work as it will be recorded, and give its results."""

    def record(self, work: Work) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
        """Note the work without doing it: give what does it, and where its results will be."""


class CudaRecorder:
    """Records CUDA graphs; work that draws from generators draws anew in every replay."""

    def __init__(self, device: torch.device, generators: Iterable[torch.Generator]) -> None:
        """Record on a stream of its own, as torch demands."""
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._generators = tuple(generators)

    def warm_up(self, work: Work) -> tuple[Tensor, Tensor]:
        """Do the work on the stream on which it will be recorded."""
        here = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            results = work()
        here.wait_stream(self._stream)
        for result in results:
            result.record_stream(here)
        return results

    def record(self, work: Work) -> tuple[Callable[[], None], tuple[Tensor, Tensor]]:
        """Record a graph; other threads of the process may use CUDA meanwhile."""
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            results = work()
        return graph.replay, results


@dataclass(frozen=True, slots=True)
class _Recording:
    """A recorded step: what it reads, where it leaves its results, and how it is run."""

    inputs: Tensor
    targets: Tensor
    rates: Tensor
    results: tuple[Tensor, Tensor]
    replay: Callable[[], None]


class RecordedStep:
    """A step that is recorded for batches of the size of the first; all others run as they are.

    The first few batches are run, too, before the recording: they are steps like any other. A
    step that cannot be recorded goes on as it was, and `refusal` says why.
    """

    def __init__(self, step: Step, recorder: Recorder | None, *, module: nn.Module) -> None:
        """Take a step of a network that reads and changes tensors that stay where they are."""
        self.refusal: str | None = None
        self._step = step
        self._recorder = recorder
        self._module = module
        self.forget()

    @property
    def works(self) -> bool:
        """Whether it is recorded, or is going to be."""
        return self.refusal is None

    def forget(self) -> None:
        """Record anew: tensors that the step reads are not where they were."""
        self._num_run = 0
        self._shape: torch.Size | None = None
        self._recording: _Recording | None = None

    def __call__(self, inputs: Tensor, targets: Tensor, rates: Any) -> tuple[Tensor, Tensor]:
        """Make a step; results are the caller's to keep."""
        self._shape = self._shape or inputs.shape
        if self._recorder is None or not self.works or inputs.shape != self._shape:
            return self._step(inputs, targets, rates)
        if self._recording is None:
            if self._num_run < _WARM_UP:
                self._num_run += 1
                return self._recorder.warm_up(lambda: self._step(inputs, targets, rates))
            self._recording = self._record(self._recorder, inputs, targets, rates)
        recording = self._recording
        if recording is None:
            return self._step(inputs, targets, rates)
        recording.inputs.copy_(inputs)
        recording.targets.copy_(targets)
        recording.rates.copy_(rates)
        recording.replay()
        losses, outputs = recording.results
        return losses.clone(), outputs.clone()  # the next replay writes over them

    def _record(
        self, recorder: Recorder, inputs: Tensor, targets: Tensor, rates: Tensor
    ) -> _Recording | None:
        own = [torch.empty_like(each).copy_(each) for each in (inputs, targets, rates)]
        try:
            replay, results = recorder.record(lambda: self._step(own[0], own[1], own[2]))
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.refusal = f"the step cannot be recorded as a CUDA graph: {error}"
            for weight in self._module.parameters():
                weight.grad = None  # perhaps left behind half way
            return None
        return _Recording(own[0], own[1], own[2], results, replay)


def recorded(
    step: Step, *, module: nn.Module, device: torch.device, generators: Sequence[torch.Generator]
) -> RecordedStep:
    """Record a network's step; where that cannot be, say so and make it as it is.

    Args:
        step: Reads and changes nothing but tensors that stay where they are.
        module: The network.
        device: Where it is.
        generators: What its dropout draws from.
    """
    refusal, used = None, generators if drops(module) else ()
    if device.type != "cuda":
        refusal = f"there are no CUDA graphs on a {device.type}"
    elif used and not hasattr(torch.cuda.CUDAGraph, "register_generator_state"):
        refusal = f"torch {torch.__version__} cannot draw from several generators in a CUDA graph"
    recorder = None if refusal else CudaRecorder(device, used)
    found = RecordedStep(step, recorder, module=module)
    found.refusal = refusal
    return found


def drops(module: nn.Module) -> bool:
    """Say whether any layer of a network draws which elements it drops."""
    return any(
        (isinstance(part, StreamDropout) and part.p > 0)
        or (isinstance(part, FusedDropout) and any(part.probabilities))
        for part in module.modules()
    )
