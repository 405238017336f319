import pytest
import torch

from experiments.errors import DatasetChecksumError, DatasetError, DatasetUnavailableError
from experiments.states import FailureKind
from workers import failures
from workers.failures import NotFiniteError, TrialTimeoutError, failure_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("a bad value"), FailureKind.ERROR),
        (RuntimeError("shapes cannot be multiplied"), FailureKind.ERROR),
        (DatasetChecksumError("altered"), FailureKind.DATA),
        (DatasetError("images of two sizes"), FailureKind.DATA),
        (DatasetUnavailableError("cannot download"), FailureKind.ERROR),  # may be retried
        (TrialTimeoutError("too long"), FailureKind.TIMEOUT),
        (NotFiniteError("nan"), FailureKind.NOT_FINITE),
    ],
)
def test_an_exception_says_what_kind_of_failure_it_is(error: Exception, kind: FailureKind) -> None:
    failure = failure_of(error)
    assert (failure.kind, failure.type, failure.message) == (kind, type(error).__name__, str(error))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "CUDA out of memory"),
        (MemoryError("Unable to allocate 9 GiB"), "Unable to allocate 9 GiB"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_want_of_memory_names_the_most_that_was_held(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    monkeypatch.setattr(failures, "peak_memory_bytes", lambda _: 3 * 2**29)
    failure = failure_of(error)
    assert (failure.kind, failure.type) == (FailureKind.OUT_OF_MEMORY, type(error).__name__)
    assert failure.message == (
        f"needed more memory than there is; the process held 1.50 GiB at most: {told}"
    )
    of_gpu = failure_of(error, device=torch.device("cuda")).message
    assert "; its tensors on the GPU held 1.50 GiB at most: " in of_gpu


def test_memory_that_the_cpu_refuses_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert failure_of(caught.value).kind == FailureKind.OUT_OF_MEMORY


def test_a_traceback_leads_to_the_line() -> None:
    with pytest.raises(KeyError) as caught:
        raise KeyError("here")
    assert 'raise KeyError("here")' in failure_of(caught.value).traceback


def test_of_a_long_traceback_the_end_is_kept() -> None:
    failure = failure_of(ValueError("x" * 30_000 + "the end"))
    assert len(failure.traceback) == 20_000
    assert failure.traceback.endswith("the end\n")


def test_of_a_long_message_the_beginning_is_kept() -> None:
    failure = failure_of(ValueError("the beginning" + "x" * 30_000))
    assert len(failure.message) == 2_000
    assert failure.message.startswith("the beginning")
    assert failure.message.endswith("x…")


def test_a_message_that_fits_is_kept_whole() -> None:
    assert failure_of(ValueError("x" * 2_000)).message == "x" * 2_000
