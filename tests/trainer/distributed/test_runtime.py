"""What processes exchange; each function runs on two of them."""

from collections.abc import Callable

import pytest
import torch

from tests.trainer.distributed.ranks import run_ranks
from trainer.distributed import Runtime
from trainer.errors import RewardsUnavailable, SelfCheckError


def _exchanges() -> dict[str, object]:
    """Several things at once, as a process is slow to start."""
    seen: dict[str, object] = {}
    with Runtime() as runtime:
        own = runtime.share("abcde")
        seen["shares"] = "".join(own)
        seen["all"] = runtime.gather_shares([item.upper() for item in own])
        seen["any"] = (runtime.any(runtime.rank == 1), runtime.any(False))
        seen["once"] = runtime.once(lambda: runtime.rank + 10)
        parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (4,), (1,))]
        noise = torch.Generator().manual_seed(runtime.rank)
        for parameter in parameters[:2]:
            parameter.grad = torch.randn(parameter.shape, generator=noise)
        runtime.sum_gradients(parameters)
        seen["gradient"] = [None if each.grad is None else each.grad.tolist() for each in parameters]
    return seen


def _failures() -> list[str]:
    said = []

    def fail_on(rank: int, error: Exception) -> None:
        if runtime.rank == rank:
            raise error

    def fail_before_the_exchange() -> list[int]:
        fail_on(1, SelfCheckError("mine"))
        return runtime.gather([runtime.rank])

    def fail_within() -> None:
        runtime.together(lambda: fail_on(0, RewardsUnavailable("first")))

    def fail_where_it_runs_alone() -> None:
        runtime.once(lambda: fail_on(0, SelfCheckError("main")))

    with Runtime() as runtime:
        for work in (fail_before_the_exchange, fail_within, fail_where_it_runs_alone):
            try:
                runtime.together(work)
            except (SelfCheckError, RewardsUnavailable) as error:
                said.append(f"{type(error).__name__}: {error}")
        said.append(str(runtime.gather([runtime.rank])))
    return said


def test_processes_deal_out_gather_and_add_up(free_port: Callable[[], int]) -> None:
    first, second = run_ranks(_exchanges, [(), ()], port=free_port())
    assert (first.pop("shares"), second.pop("shares")) == ("ace", "bd")
    assert first == second
    assert first["all"] == list("ABCDE")
    assert first["any"] == (True, False)
    assert first["once"] == 10
    noises = [torch.randn(2, 3, generator=torch.Generator().manual_seed(rank)) for rank in (0, 1)]
    summed, _, untouched = first["gradient"]
    torch.testing.assert_close(torch.tensor(summed), noises[0] + noises[1])
    assert untouched is None


def test_what_fails_on_one_process_fails_on_all_and_they_stay_in_step(free_port: Callable[[], int]) -> None:
    expected = ["SelfCheckError: mine", "RewardsUnavailable: first", "SelfCheckError: main", "[0, 1]"]
    assert run_ranks(_failures, [(), ()], port=free_port()) == [expected, expected]


def test_one_process_is_a_runtime_too() -> None:
    with Runtime() as runtime:
        assert runtime.is_main
        assert runtime.gather_shares(runtime.share([1, 2, 3])) == [1, 2, 3]
        assert runtime.once(lambda: 7) == 7
        with pytest.raises(SelfCheckError, match="alone"):
            runtime.together(lambda: (_ for _ in ()).throw(SelfCheckError("alone")))
