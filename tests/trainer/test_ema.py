from collections.abc import Callable

import pytest
import torch

from trainer.config import EmaConfig, TrainConfig
from trainer.ema import AdapterAverage, decay_at
from trainer.policies import load_policy
from trainer.policies.base import Policy
from trainer.policies.lora import trainable_parameters

MakeConfig = Callable[..., TrainConfig]


@pytest.fixture
def policy(make_config: MakeConfig) -> Policy:
    return load_policy(make_config(), examples=(), device=torch.device("cpu"))


def _parameters(policy: Policy) -> list[torch.nn.Parameter]:
    return trainable_parameters(policy.transformer)


@torch.no_grad()
def _move(policy: Policy, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in _parameters(policy):
        parameter.add_(torch.randn(parameter.shape, generator=generator))


def test_the_decay_warms_up_to_its_value() -> None:
    decays = [decay_at(step, decay=0.9) for step in (0, 1, 8, 79, 80, 81, 10_000)]
    assert decays == pytest.approx([1 / 10, 2 / 11, 9 / 18, 80 / 89, 0.9, 0.9, 0.9])


def test_without_a_decay_there_is_no_average(policy: Policy) -> None:
    assert AdapterAverage.of(policy, _parameters(policy), EmaConfig(decay=0.0)) is None


@pytest.mark.parametrize("on_cpu", [False, True])
def test_the_average_is_the_one_computed_by_hand(policy: Policy, on_cpu: bool) -> None:
    average = AdapterAverage.of(policy, _parameters(policy), EmaConfig(decay=0.15, on_cpu=on_cpu))
    assert average is not None
    expected = {name: value.double() for name, value in policy.adapter_state().items()}
    for step, decay in enumerate((0.1, 0.15, 0.15)):  # 1/10, then 2/11 and 3/12 are above it
        _move(policy, step)
        average.update(step)
        weights = policy.adapter_state()
        expected = {name: decay * value + (1 - decay) * weights[name].double() for name, value in expected.items()}
    state = average.state()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(state[name].double(), value, atol=1e-6, rtol=1e-6)


def test_the_weights_come_back_after_the_average_was_in_place(policy: Policy) -> None:
    average = AdapterAverage(policy, _parameters(policy), decay=0.9, on_cpu=False)
    fresh = policy.adapter_state()
    _move(policy, 0)
    moved = policy.adapter_state()
    with average.in_place():
        assert all(torch.equal(value, fresh[name]) for name, value in policy.adapter_state().items())
    assert all(torch.equal(value, moved[name]) for name, value in policy.adapter_state().items())
    with pytest.raises(RuntimeError, match="drawing failed"), average.in_place():
        raise RuntimeError("drawing failed")
    assert all(torch.equal(value, moved[name]) for name, value in policy.adapter_state().items())


def test_a_saved_average_is_put_back_and_the_weights_stay(policy: Policy) -> None:
    average = AdapterAverage(policy, _parameters(policy), decay=0.9, on_cpu=False)
    _move(policy, 0)
    average.update(0)
    state, weights = average.state(), policy.adapter_state()
    again = AdapterAverage.of(policy, _parameters(policy), EmaConfig(decay=0.9), state=state)
    assert again is not None
    assert all(torch.equal(value, state[name]) for name, value in again.state().items())
    assert all(torch.equal(value, weights[name]) for name, value in policy.adapter_state().items())
    state.popitem()
    with pytest.raises(ValueError, match="does not fit"):
        again.load_state(state)
