"""The U-Net: what its loss may see, its schedule and averaging by hand, and real digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.images import MaskedImages
from bench.imputer import FitContext
from bench.methods.nearest_pixel import nearest_fill
from bench.methods.nn.residual_unet import UNet
from bench.methods.unet import MOST_EPOCHS, Schedule, UNetImputer, average, hidden_error, inputs, keep
from bench.plugins.checkpoints import DiskCheckpoints
from tests.methods.adversarial import interrupted_fit, made_images
from tests.real import mnist, rmse_on_missing


def built(images: MaskedImages) -> UNet:
    torch.manual_seed(0)
    return UNet(images.shape[0] + 1, images.shape[0], (8, 16, 32))


def loss_of(network: UNet, images: MaskedImages, kept: torch.Tensor) -> torch.Tensor:
    return hidden_error(network(inputs(images.values, kept)), images, kept)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 5, 7), (2, 1, 1), (3, 109, 89)])
def test_any_size_comes_back(shape: tuple[int, int, int]) -> None:
    network = UNet(shape[0] + 1, shape[0], (8, 16, 32))
    assert network(torch.rand(2, shape[0] + 1, *shape[1:])).shape == (2, *shape)


def test_the_loss_is_the_mean_squared_error_of_hidden_values() -> None:
    images = made_images((3, 8, 8), count=4)
    kept = shown_part(images)
    predicted = torch.rand(images.pixels.shape, generator=torch.Generator().manual_seed(2))
    errors = [
        float(predicted[n, c, i, j] - images.values[n, c, i, j]) ** 2
        for n, _, i, j in (images.observed & ~kept).nonzero().tolist()
        for c in range(3)
    ]
    assert float(hidden_error(predicted, images, kept)) == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def shown_part(images: MaskedImages) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return images.observed & (torch.rand(images.observed.shape, generator=generator) < 0.6)


def test_kept_pixels_are_no_targets_and_hidden_ones_no_inputs() -> None:
    """The gradient with respect to the predictions is zero at all but hidden pixels, and changing a hidden
    pixel changes no prediction."""
    images = made_images((1, 8, 8), count=4)
    network = built(images)
    kept = shown_part(images)
    hidden = images.observed & ~kept
    seen: list[torch.Tensor] = []

    def keep_output(module: nn.Module, arguments: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    network.register_forward_hook(keep_output)
    loss_of(network, images, kept).backward()  # type: ignore[no-untyped-call]
    gradient = seen[0].grad
    assert gradient is not None
    assert (gradient[~hidden] == 0).all() and (gradient[hidden] != 0).all()
    altered = MaskedImages(torch.where(hidden, 255 - images.pixels, images.pixels), images.observed)
    assert torch.equal(inputs(altered.values, kept), inputs(images.values, kept))


def test_each_image_keeps_its_own_share() -> None:
    images = made_images((1, 40, 40), count=200, observed_rate=1.1)
    shares = keep(images.observed, 0.5, torch.Generator().manual_seed(0)).float().mean((1, 2, 3))
    assert shares.min() < 0.55 and shares.max() > 0.95
    # Evenly over [0.5, 1]: mean 0.75, standard deviation 0.144.
    assert float(shares.mean()) == pytest.approx(0.75, abs=0.04)
    assert float(shares.std()) == pytest.approx(0.144, abs=0.02)


def test_no_hidden_pixel_gives_no_loss_and_finite_gradients() -> None:
    images = made_images((1, 8, 8), count=2, observed_rate=-1)
    network = built(images)
    loss = loss_of(network, images, images.observed)
    assert float(loss.detach()) == 0
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_schedule_by_hand() -> None:
    schedule = Schedule(epochs=10, steps=1000, patience=0, tolerance=0.005)
    assert schedule(0) == pytest.approx(0.02)
    assert schedule(50) == 1
    assert schedule(525) == pytest.approx(0.5)
    assert schedule(1000) == pytest.approx(0)
    assert [schedule.after_epoch(epochs, 1.0) for epochs in (9, 10)] == [False, True]


def test_with_patience_the_rate_falls_only_once_the_error_is_flat() -> None:
    schedule = Schedule(epochs=10, steps=1000, patience=3, tolerance=0.01)
    errors = [8.0, 4.0, 2.0, 1.0, 0.999, 0.998, 0.997]
    assert not any(schedule.after_epoch(epochs, error) for epochs, error in enumerate(errors[:6], 1))
    assert schedule(699) == 1
    assert not schedule.after_epoch(7, errors[6])
    again = Schedule(epochs=10, steps=1000, patience=3, tolerance=0.01)
    again.load_state_dict(schedule.state_dict())
    for each in (schedule, again):
        assert each(750) == 1
        assert each(700 + 525) == pytest.approx(0.5)
        assert not each.after_epoch(16, 9.0)
        assert each.after_epoch(17, 9.0)


def test_an_error_that_goes_on_falling_meets_the_bound() -> None:
    schedule = Schedule(epochs=2, steps=20, patience=3, tolerance=0.005)
    ended = [schedule.after_epoch(epochs, 0.9**epochs) for epochs in range(1, MOST_EPOCHS + 3)]
    assert ended.index(True) == MOST_EPOCHS + 1


def test_images_are_filled_in_by_the_averaged_network(monkeypatch: pytest.MonkeyPatch) -> None:
    images = made_images((1, 8, 8))
    method = UNetImputer(width=8, epochs=2, batch_size=8, patience=0)
    method.context = FitContext()
    trained = method.new_network(1)
    monkeypatch.setattr(method, "new_network", lambda channels: trained)
    method.fit(images, FitContext())
    shown = inputs(images.values, images.observed)
    with torch.no_grad():
        averaged, latest = (net(shown).clamp(0, 1) for net in (method.average.module, trained))
    assert torch.allclose(method.impute(images), images.paste(averaged), atol=1e-6)
    assert not torch.allclose(averaged, latest, atol=1e-3)


def test_average_by_hand() -> None:
    # After 8 steps: decay 9 / 18.
    kept = [torch.tensor(2.0), torch.tensor([0.0, 4.0])]
    average(kept, [torch.tensor(4.0), torch.tensor([2.0, 0.0])], torch.tensor(8))
    assert kept[0].item() == pytest.approx(3)
    assert kept[1].tolist() == pytest.approx([1, 2])
    (late,) = lately = [torch.tensor(0.0)]
    average(lately, [torch.tensor(1.0)], torch.tensor(10**6))
    assert late.item() == pytest.approx(0.001, rel=1e-3)


def test_a_stopped_fit_goes_on_to_the_same_network(tmp_path: Path) -> None:
    images = made_images((1, 8, 8))
    whole = UNetImputer(width=8, epochs=3, batch_size=8, patience=0)
    whole.fit(images, FitContext())
    interrupted_fit(UNetImputer(width=8, epochs=3, batch_size=8, patience=0), images, tmp_path, steps=5)
    again = UNetImputer(width=8, epochs=3, batch_size=8, patience=0)
    context = FitContext(checkpoints=DiskCheckpoints(tmp_path))
    again.fit(images, context)
    assert torch.equal(again.impute(images), whole.impute(images))
    assert context.facts["steps"] == 9
    assert context.facts["parameters"] == sum(part.numel() for part in again.average.module.parameters())


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="keep_least must be above 0 and below 1, not 1"):
        UNetImputer(keep_least=1.0)
    with pytest.raises(ValueError, match="width must be at least 8 and a multiple of 8, not 12"):
        UNetImputer(width=12)


@pytest.mark.learns
def test_a_small_network_on_few_real_digits_beats_the_start() -> None:
    _, train = mnist("train", 600, rate=0.8)
    truth, test = mnist("t10k", 100, rate=0.8)
    start = rmse_on_missing(truth, test, nearest_fill(test, seed=0).float() / 255)
    method = UNetImputer(width=8, epochs=5, batch_size=20, learning_rate=4e-3, patience=0)
    method.fit(train, FitContext())
    assert rmse_on_missing(truth, test, method.impute(test)) < 0.9 * start
