"""What the simulated devices do of themselves: each test holds them to one promise.

:mod:`tests.simulated_cuda.test_device` runs this file by a pytest of its own, which sees them.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.simulated_cuda import install
from tests.simulated_cuda.cuda import calls
from tests.simulated_cuda.waits import Watch
from weather_hpc.train.checkpoint import on_cpu
from weather_hpc.train.loader import to_device

FIRST, SECOND = torch.device("cuda", 0), torch.device("cuda", 1)


def on_first(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32, device=FIRST)


def recorded(step: Callable[[], Any], pool: Any = None) -> tuple[Any, Any]:
    """A graph of ``step``, and what the step has returned."""
    graph = torch.cuda.CUDAGraph()
    stream: Any = torch.cuda.Stream(FIRST)  # type: ignore[no-untyped-call]
    with torch.cuda.graph(graph, pool=pool, stream=stream):
        result = step()
    return graph, result


@contextmanager
def almost_full() -> Iterator[None]:
    """The first device has 100 bytes left."""
    _, total = torch.cuda.mem_get_info(FIRST)
    limit = torch.cuda.memory_allocated(FIRST) + 100
    install.DEVICE.set_memory_limit(ctypes.c_int64(limit))
    yield
    install.DEVICE.set_memory_limit(ctypes.c_int64(total))


@pytest.mark.parametrize("strange", [torch.ones(2), torch.ones(2, device=SECOND)], ids=str)
def test_devices_are_not_mixed(strange: torch.Tensor) -> None:
    one = on_first(1, 2)
    for mixing in (
        lambda: one + strange,
        lambda: one.add_(strange),
        lambda: torch.cat([one, strange]),
        lambda: nn.Linear(2, 2).to(FIRST)(strange),
    ):
        with pytest.raises(RuntimeError, match="same device"):
            mixing()
    assert (one + strange.to(FIRST)).tolist() == [2, 3]
    assert (one + torch.tensor(1.0)).device == FIRST, "a lone number may come from the host"


def test_results_are_where_they_are_computed() -> None:
    values = torch.arange(6.0, device=SECOND).view(2, 3)
    for made in (values.t() @ values, values.sum(), values[0], torch.zeros_like(values)):
        assert made.device == SECOND
    assert values.t().data_ptr() == values.data_ptr(), "a view shares memory"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_fresh_memory_holds_no_numbers(dtype: torch.dtype) -> None:
    assert torch.empty(64, dtype=dtype, device=FIRST).isnan().all()


def test_pinned_memory_is_told_from_other() -> None:
    assert torch.empty(3, pin_memory=True).is_pinned()
    assert torch.arange(3).pin_memory().is_pinned()
    assert not torch.arange(3).is_pinned()


def test_each_device_draws_from_its_own_generator() -> None:
    torch.manual_seed(7)
    host = torch.get_rng_state()
    first, second = torch.rand(4, device=FIRST), torch.rand(4, device=SECOND)
    assert torch.equal(first.cpu(), second.cpu()), "they are seeded alike"
    kept = torch.cuda.get_rng_state(1)
    one, other = (torch.rand(4, device=SECOND).cpu() for _ in range(2))
    assert not torch.equal(one, other)
    torch.rand(4, device=FIRST)
    torch.cuda.set_rng_state(kept, 1)
    assert torch.equal(torch.rand(4, device=SECOND).cpu(), one)
    assert torch.equal(torch.get_rng_state(), host), "the host's own is left alone"


def test_memory_in_use_is_counted_for_each_device() -> None:
    def in_use(gpu: int) -> tuple[int, int]:
        return torch.cuda.memory_allocated(gpu), torch.cuda.max_memory_allocated(gpu)

    torch.cuda.reset_peak_memory_stats(1)
    other, (before, _) = in_use(0), in_use(1)
    kept = torch.zeros(1000, device=SECOND)
    made = kept * 2  # a kernel's result counts as what was asked for does
    assert in_use(1) == (before + 8000, before + 8000)
    view = made[:10]
    del made
    assert in_use(1)[0] == before + 8000, "the view keeps it"
    del view
    assert in_use(1) == (before + 4000, before + 8000)
    torch.cuda.reset_peak_memory_stats(1)
    assert in_use(1) == (before + 4000, before + 4000)
    free, total = torch.cuda.mem_get_info(SECOND)
    assert total - free == before + 4000
    assert in_use(0) == other


def test_a_full_device_takes_no_more() -> None:
    kept = torch.zeros(1000, device=FIRST)
    with almost_full():
        wanting: Callable[[], torch.Tensor]
        for wanting in (lambda: torch.zeros(1000, device=FIRST), lambda: kept + 1):
            with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
                wanting()
        kept.add_(1)
        torch.zeros(20, device=FIRST)
        torch.zeros(1000, device=SECOND)


def test_a_graph_is_done_again_without_its_python() -> None:
    ran = []
    source, total = on_first(1, 1), on_first(0, 0)

    def step() -> torch.Tensor:
        ran.append(1)
        total.add_(source)
        return total * 10

    graph, result = recorded(step)
    where = result.data_ptr()
    total.zero_()
    source.fill_(2)
    for _ in range(3):
        graph.replay()
    assert (total.tolist(), result.tolist()) == ([6, 6], [60, 60])
    assert (len(ran), result.data_ptr()) == (1, where)


def test_a_graph_draws_anew_each_time() -> None:
    graph, drawn = recorded(lambda: torch.rand(8, device=FIRST))
    seen = []
    for _ in range(3):
        graph.replay()
        seen.append(drawn.tolist())
    assert all(one != other for one, other in pairwise(seen))


def test_a_backward_pass_is_recorded_too() -> None:
    weight, source = on_first(1, 1).requires_grad_(), on_first(1, 1)

    def step() -> None:
        weight.grad = None
        (weight * source).square().sum().backward()  # type: ignore[no-untyped-call]

    graph, _ = recorded(step)
    source.fill_(3)
    graph.replay()
    assert weight.grad is not None
    assert weight.grad.tolist() == [18, 18]


@pytest.mark.parametrize(
    "step",
    [
        lambda values, host: values.sum().item(),
        lambda values, host: values.tolist(),
        lambda values, host: bool(values.any()),
        lambda values, host: values.nonzero(),
        lambda values, host: values[values > 0],
        lambda values, host: values.cpu(),
        lambda values, host: values.new_tensor([1.0, 2.0]),
        lambda values, host: torch.tensor(1.0, device=FIRST),
        lambda values, host: values.copy_(host),
        lambda values, host: host.to(FIRST),
        lambda values, host: host.to(FIRST, non_blocking=True),  # not pinned
        lambda values, host: host.pin_memory().to(FIRST),  # waited for
    ],
)
def test_a_capture_refuses_what_the_host_takes_part_in(
    step: Callable[[torch.Tensor, torch.Tensor], object],
) -> None:
    values, host = on_first(1, 2), torch.ones(2)
    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        recorded(lambda: step(values, host))
    graph, _ = recorded(lambda: values.mul_(2))  # and after that it records again
    graph.replay()
    # what is recorded is not carried out
    assert values.tolist() == [2, 4]


def test_a_step_is_captured_only_where_the_optimizer_counts_on_the_device() -> None:
    for capturable in (False, True):
        weight = nn.Parameter(on_first(1, 2))
        weight.grad = torch.ones_like(weight)
        adam = torch.optim.Adam([weight], lr=on_first(0.1)[0], fused=True, capturable=capturable)
        adam.step()
        if capturable:
            recorded(adam.step)
        else:
            with pytest.raises(RuntimeError, match="capturable"):
                recorded(adam.step)


def test_want_of_memory_in_a_capture_is_hidden_by_how_it_ends() -> None:
    with almost_full(), pytest.raises(RuntimeError, match="previous error during capture") as told:
        recorded(lambda: torch.zeros(1000, device=FIRST))
    assert not isinstance(told.value, torch.OutOfMemoryError)


def test_times_are_known_once_the_host_has_waited() -> None:
    begin, end, untimed = (torch.cuda.Event(enable_timing=timed) for timed in (True, True, False))  # type: ignore[no-untyped-call]
    begin.record()
    with pytest.raises(RuntimeError, match="recorded"):
        begin.elapsed_time(end)
    end.record()
    with pytest.raises(RuntimeError, match="completed"):
        begin.elapsed_time(end)
    torch.cuda.synchronize()
    assert 0 < begin.elapsed_time(end) < 1000
    with pytest.raises(RuntimeError, match="enable_timing"):
        begin.elapsed_time(untimed)


def test_which_memory_graphs_share_is_told() -> None:
    one, other = (torch.cuda.graph_pool_handle() for _ in range(2))
    assert one != other
    calls.clear()
    for pool in (one, other, one):
        recorded(lambda: torch.ones(3, device=FIRST), pool)
    assert [call[1] for call in calls if call[0] == "capture"] == [one, other, one]


def test_the_watch_names_file_and_line_at_which_the_host_waits() -> None:
    with Watch() as watch:
        on_device = to_device(np.arange(3), FIRST)  # by pinned memory: nobody waits
        on_device.add_(1)
        on_cpu({"values": [on_device]})
    (found,) = watch.found
    assert found.startswith("train/checkpoint.py:")
    assert found.endswith("from the device to the host")


def test_the_watch_sees_a_backward_pass() -> None:
    class Reading(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
            return values.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            return gradient * gradient.sum().item()

    values = on_first(1, 2).requires_grad_()
    with Watch() as watch:
        Reading.apply(values).sum().backward()  # type: ignore[no-untyped-call]
    (found,) = watch.found
    assert "_local_scalar_dense" in found
