import pytest
import torch
from torch import Tensor, nn

from icecore.train.sweep.optimizer import StackedAdamW, rate

RATES = [1e-2, 3e-3, 1e-1]
DECAYS = [0.0, 0.3, 0.01]
CLIPS = [None, 0.5, 1e-3]
SHAPES = [(5,), (4, 3)]


def gradients(step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(len(RATES), *shape, generator=generator) for shape in SHAPES]


def starts() -> list[Tensor]:
    return [gradient * 2 for gradient in gradients(99)]


def alone(index: int, num_steps: int) -> list[Tensor]:
    """One adapter under torch.optim, with its own rate, decay and clip."""
    parameters = [nn.Parameter(start[index].clone()) for start in starts()]
    optimizer = torch.optim.AdamW(parameters, lr=RATES[index], weight_decay=DECAYS[index])
    for step in range(num_steps):
        for parameter, gradient in zip(parameters, gradients(step), strict=True):
            parameter.grad = gradient[index].clone()
        clip = CLIPS[index]
        if clip is not None:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


def test_a_stack_moves_as_torchs_adamw_moves_each_alone() -> None:
    parameters = starts()
    optimizer = StackedAdamW(parameters, DECAYS, CLIPS)
    for step in range(7):
        optimizer.step(gradients(step), RATES)
    for index in range(len(RATES)):
        for mine, reference in zip(parameters, alone(index, 7), strict=True):
            torch.testing.assert_close(mine[index], reference, rtol=1e-5, atol=1e-6)


def test_who_stays_when_others_leave_is_not_disturbed() -> None:
    parameters, keep = starts(), [2, 0]
    optimizer = StackedAdamW(parameters, DECAYS, CLIPS)
    for step in range(7):
        if step == 3:
            parameters = [parameter[keep] for parameter in parameters]
            optimizer = optimizer.subset(keep, parameters)
        now = gradients(step) if step < 3 else [gradient[keep] for gradient in gradients(step)]
        optimizer.step(now, RATES if step < 3 else [RATES[index] for index in keep])
    for place, index in enumerate(keep):
        for mine, reference in zip(parameters, alone(index, 7), strict=True):
            torch.testing.assert_close(mine[place], reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("num_steps", [1, 7, 200])
def test_the_rate_warms_up_and_falls_to_nothing(num_steps: int) -> None:
    rates = [rate(2.0, step, num_steps) for step in range(num_steps)]
    warm_up = max(1, round(0.05 * num_steps))
    assert max(rates) == rates[warm_up - 1] == 2.0
    assert rates[:warm_up] == sorted(rates[:warm_up])
    assert rates[warm_up:] == sorted(rates[warm_up:], reverse=True)
    assert rates[-1] < 0.05 or num_steps < 10
