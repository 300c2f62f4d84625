"""The training loop: a fit stopped at any step ends with the weights of one that was not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.imputer import FitContext, Interrupted, Progress
from bench.methods import training
from bench.methods.mcflow import MCFlow
from bench.methods.optimisation import adam, products_in, seeded
from bench.methods.prflow import PRFlow
from bench.methods.training import Training
from bench.plugins.checkpoints import DiskCheckpoints
from tests.methods.test_mcflow import made_images


class Regression:
    """A small training with noise, as a method would write it."""

    def __init__(self, context: FitContext) -> None:
        self.context = context
        with seeded(context, "model"):
            self.model = nn.Linear(3, 1)
        self.adam = adam(self.model.parameters(), 1e-2)
        self.noise = context.generator("noise")
        self.data = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
        self.orders: list[Tensor] = []

    def step(self, indices: Tensor) -> Mapping[str, Tensor]:
        self.orders.append(indices)
        noise = torch.randn(len(indices), 1, generator=self.noise)
        loss = (self.model(self.data[indices]) - self.data[indices].sum(1, True) + noise).square().mean()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return {"loss": loss.detach(), "exact loss": loss.detach().double() / 3}

    def run(self, epochs: int = 4) -> None:
        parts: dict[str, Any] = {"model": self.model, "adam": self.adam, "noise": self.noise}
        training = Training(self.context, parts, count=20, batch_size=6, epochs=epochs)
        for indices in training:
            training.record(self.step(indices))


def weights_of(module: nn.Module) -> list[Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def stop_after(steps: int) -> FitContext:
    """A context that asks to stop once it was asked `steps` times."""
    asked = iter(range(steps))
    return FitContext(stop_requested=lambda: next(asked, None) is None)


@pytest.mark.parametrize("steps", range(12))
def test_stopped_at_any_step_and_resumed(tmp_path: Path, steps: int) -> None:
    whole = Regression(FitContext())
    whole.run()
    context = stop_after(steps)
    context.checkpoints = DiskCheckpoints(tmp_path)
    with pytest.raises(Interrupted):
        Regression(context).run()
    resumed = Regression(FitContext(checkpoints=DiskCheckpoints(tmp_path)))
    resumed.run()
    assert all(map(torch.equal, weights_of(resumed.model), weights_of(whole.model)))
    assert resumed.context.facts == whole.context.facts


@pytest.mark.parametrize("method", [MCFlow, PRFlow])
@pytest.mark.parametrize("killed_after", [1, 2, 3, 5, 8])
def test_a_killed_flow_resumes_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: type[MCFlow], killed_after: int
) -> None:
    """Killed between checkpoints, before and after refreshes of the fill-in."""
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)
    images = made_images()
    settings: dict[str, Any] = {"hidden": 6, "epochs": 9, "batch_size": 4, "learning_rate": 1e-3}
    whole = method(**settings)
    whole.fit(images, FitContext())

    class Killed(BaseException):
        pass

    def kill(progress: Progress) -> None:
        if progress.step == 3 * killed_after:
            raise Killed

    with pytest.raises(Killed):
        method(**settings).fit(images, FitContext(checkpoints=DiskCheckpoints(tmp_path), report=kill))
    resumed = method(**settings)
    resumed.fit(images, FitContext(checkpoints=DiskCheckpoints(tmp_path)))
    for (flow, imputer), (flow_whole, imputer_whole) in zip(
        resumed._stages.models, whole._stages.models, strict=True
    ):
        assert all(map(torch.equal, weights_of(flow), weights_of(flow_whole)))
        assert all(map(torch.equal, weights_of(imputer), weights_of(imputer_whole)))
    assert torch.equal(resumed.impute(images), whole.impute(images))


def test_a_finished_fit_is_not_trained_again(tmp_path: Path) -> None:
    first = Regression(FitContext(checkpoints=DiskCheckpoints(tmp_path)))
    first.run()
    again = Regression(FitContext(checkpoints=DiskCheckpoints(tmp_path)))
    again.run()
    assert not again.orders
    assert all(map(torch.equal, weights_of(again.model), weights_of(first.model)))


def test_each_epoch_shows_each_image_once_in_an_order_of_its_own() -> None:
    regression = Regression(FitContext())
    regression.run(epochs=2)
    first, second = torch.cat(regression.orders[:3]), torch.cat(regression.orders[3:])
    assert len(set(first.tolist())) == len(set(second.tolist())) == 18
    assert first.tolist() != second.tolist()


def test_the_history_holds_each_epoch_s_mean_losses() -> None:
    regression, losses = Regression(FitContext()), []
    step = regression.step

    def remembered(indices: Tensor) -> Mapping[str, Tensor]:
        found = step(indices)
        losses.append(float(found["loss"]))
        return found

    regression.step = remembered  # type: ignore[method-assign]
    regression.run(epochs=2)
    means = [epoch["loss"] for epoch in regression.context.facts["history"]]
    assert means == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 3])


def test_what_is_drawn_depends_on_the_seed_and_the_purpose() -> None:
    drawn = {FitContext(seed=seed).generator(name).initial_seed() for seed in (0, 1) for name in "ab"}
    assert len(drawn) == 4


def test_the_deadline_ends_a_fit_early_and_says_so() -> None:
    context = FitContext(deadline=time.monotonic())
    regression = Regression(context)
    regression.run()
    assert len(regression.orders) == 1
    assert context.facts["stopped"] == "deadline reached in epoch 1 of 4"


def test_a_fit_that_was_told_of_its_deadline_counts_as_ended_early() -> None:
    """A method with a loop of its own asks, and need not say so."""
    late, early = FitContext(deadline=time.monotonic() - 1), FitContext(deadline=time.monotonic() + 60)
    assert late.out_of_time and late.facts == {"stopped": "deadline reached"}
    assert not early.out_of_time and early.facts == {}


def test_a_loss_that_is_no_number_is_an_error() -> None:
    training = Training(FitContext(), {}, count=4, batch_size=2, epochs=1)
    with pytest.raises(FloatingPointError, match="loss is not finite in epoch 1"):
        for _ in training:
            training.record({"loss": torch.tensor(torch.nan)})


def epochs_done(context: FitContext, late: Callable[[int], bool]) -> list[int]:
    """The epochs after which a method's own work was done, where time runs out in some step."""
    training = Training(context, {}, count=4, batch_size=2, epochs=3)
    done = []
    with training.epochs() as epochs:
        for epoch in epochs:
            for _ in epoch:
                training.record({"loss": torch.tensor(float(training.step))})
                if late(training.step):
                    context.deadline = time.monotonic()
            done.append(training.epoch)
            assert epoch.losses == {"loss": 2 * training.epoch - 1.5}
    return done


def test_no_work_between_epochs_is_done_for_an_epoch_that_the_deadline_cut(tmp_path: Path) -> None:
    context = FitContext(checkpoints=DiskCheckpoints(tmp_path))
    assert epochs_done(context, lambda step: step == 2) == [1]
    assert context.facts["stopped"] == "deadline reached in epoch 2 of 3"
    assert context.facts["steps"] == 3 and context.facts["epochs"] == 1


@pytest.mark.parametrize("last", [1, 3])
def test_an_epoch_whose_last_step_met_the_deadline_is_closed_when_the_fit_goes_on(
    tmp_path: Path, last: int
) -> None:
    context = FitContext(checkpoints=DiskCheckpoints(tmp_path))
    before = epochs_done(context, lambda step: step == last)
    assert before == [*range(1, last // 2 + 1)]
    assert epochs_done(FitContext(checkpoints=DiskCheckpoints(tmp_path)), lambda step: False) == [
        *range(len(before) + 1, 4)
    ]


def test_a_method_may_make_an_epoch_the_last() -> None:
    context = FitContext()
    training = Training(context, {}, count=4, batch_size=2, epochs=9)
    with training.epochs() as epochs:
        for epoch in epochs:
            for _ in epoch:
                pass
            if training.epoch == 2:
                training.finish()
    assert (context.facts["epochs"], context.facts["steps"]) == (2, 4)


def test_a_checkpoint_of_before_the_iterator_is_gone_on_with(tmp_path: Path) -> None:
    """Its layout is a promise to fits that are under way while bench is renewed."""
    whole = Regression(FitContext())
    whole.run(epochs=1)
    parts: dict[str, Any] = {"model": whole.model.state_dict(), "adam": whole.adam.state_dict()}
    parts["noise"] = whole.noise.get_state()
    position: dict[str, Any] = {"epoch": 1, "batch": 0, "step": 3, "finished": False, "sums": {}}
    position["history"] = whole.context.facts["history"]
    DiskCheckpoints(tmp_path).save({"position": position, "parts": parts})
    resumed = Regression(FitContext(checkpoints=DiskCheckpoints(tmp_path)))
    resumed.run(epochs=4)
    never_stopped = Regression(FitContext())
    never_stopped.run(epochs=4)
    assert len(resumed.orders) == 9
    assert all(map(torch.equal, weights_of(resumed.model), weights_of(never_stopped.model)))
    assert resumed.context.facts == never_stopped.context.facts


def test_a_weight_that_moves_within_a_step_is_the_moved_one_to_what_follows() -> None:
    layer, x = nn.Linear(2, 1, bias=False), torch.ones(1, 2)
    with products_in(FitContext(precision="bfloat16")):
        for value in (1.0, 3.0):
            with torch.no_grad():
                layer.weight.fill_(value)
            assert layer(x).item() == 2 * value
