import pytest
import torch

from nnunet_spine.training.schedules import Schedule, constant, plateau, poly


def test_poly_is_nnunets():
    assert poly(0, 100) == 1
    assert poly(50, 100) == pytest.approx(0.5**0.9)


def test_constant():
    assert constant(99, 100) == 1


def test_plateau_drops_after_seven_stagnant_epochs():
    improving = [1.0, 0.9, 0.8]
    assert plateau(3, 50, improving) == 1
    assert plateau(9, 50, improving + [0.8] * 6) == 1
    assert plateau(10, 50, improving + [0.8] * 7) == pytest.approx(0.1)
    assert plateau(17, 50, improving + [0.8] * 14) == pytest.approx(0.01)
    assert plateau(12, 50, improving + [0.8] * 6 + [0.7] + [0.9] * 2) == 1


def test_schedule_depends_on_the_log_only_so_that_resuming_changes_nothing():
    losses = [1.0] + [2.0] * 7
    parameter = torch.nn.Parameter(torch.zeros(1))
    rates = []
    for _ in range(2):
        optimizer = torch.optim.Adam([parameter], 1.0)
        Schedule("plateau", optimizer, 0.01, 50, lambda: losses).step(8)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [pytest.approx(0.001)] * 2
