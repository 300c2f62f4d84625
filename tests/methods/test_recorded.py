"""A recorded training step does the same as one that is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.imputer import FitContext, Interrupted
from bench.methods.mcflow import MCFlow
from bench.methods.optimisation import adam
from bench.methods.prflow import PRFlow
from bench.methods.recorded import Recorded
from bench.plugins.checkpoints import DiskCheckpoints
from tests.methods.test_mcflow import made_images

SETTINGS: dict[str, Any] = {"hidden": 32, "epochs": 6, "batch_size": 6, "falling_rate": True}
on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU records, a CPU does not")


def test_a_cpu_calls_the_step_and_undoes_what_a_gpu_s_checkpoint_says() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    optimiser = adam([weight], 0.5)
    optimiser.param_groups[0] |= {"capturable": True, "lr": torch.tensor(0.25)}

    def step(rows: Tensor) -> dict[str, Tensor]:
        weight.grad = torch.ones(1)
        optimiser.step()
        return {"rows": rows.sum()}

    recorded = Recorded(step, [optimiser])
    assert [float(recorded(torch.tensor([number]))["rows"]) for number in range(5)] == [0, 1, 2, 3, 4]
    # Adam's first steps along a constant gradient are as long as its rate.
    assert float(weight.detach()) == pytest.approx(1 - 5 * 0.25, abs=1e-5)


def fitted(method: MCFlow, context: FitContext) -> list[Tensor]:
    method.fit(made_images(), context)
    return [weight.cpu() for network in (method.G, method.H) for weight in network.state_dict().values()]


@on_a_gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", [MCFlow, PRFlow])
def test_a_recorded_fit_is_the_called_one(
    monkeypatch: pytest.MonkeyPatch, method: type[MCFlow], precision: str
) -> None:
    context = FitContext(device=torch.device("cuda"), precision=precision)
    recorded = fitted(method(**SETTINGS), context)
    monkeypatch.setattr(Recorded, "__call__", lambda self, rows: self._step(rows))
    for one, other in zip(recorded, fitted(method(**SETTINGS), context), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@on_a_gpu
def test_a_stopped_recorded_fit_ends_as_one_that_went_through(tmp_path: Path) -> None:
    device = torch.device("cuda")
    whole = fitted(MCFlow(**SETTINGS), FitContext(device=device))
    asked = iter([False] * 7 + [True])
    stopped = FitContext(
        device=device, checkpoints=DiskCheckpoints(tmp_path), stop_requested=lambda: next(asked, True)
    )
    with pytest.raises(Interrupted):
        fitted(MCFlow(**SETTINGS), stopped)
    resumed = fitted(MCFlow(**SETTINGS), FitContext(device=device, checkpoints=DiskCheckpoints(tmp_path)))
    assert all(torch.equal(one, other) for one, other in zip(whole, resumed, strict=True))
