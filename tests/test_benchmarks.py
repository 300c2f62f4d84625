"""The benchmarks run to their end at their smallest size; what they measure is not for tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from bench.imputer import Imputer
from bench.methods.misgan import MisGAN
from bench.methods.pbigan import PBiGAN
from benchmarks import __main__ as ratios
from benchmarks import authors, floor, scale, schedules, textbook
from tests.methods.adversarial import made_images


@pytest.mark.process
def test_ratios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ratios, "EPOCHS", 1)
    # Processes of their own, which the other benchmarks here start too, keep measurements apart.
    monkeypatch.setattr(ratios, "alone", lambda work, *given: work(*given))
    output = tmp_path / "ratios.json"
    smallest = ["--steps", "1", "--images", "20", "--fit-images", "320", "--rounds", "1", "--threads", "1"]
    smallest += ["--only", "prflow"]
    ran = CliRunner().invoke(ratios.main, [*smallest, "--output", str(output)])
    assert ran.exit_code == 0, ran.output
    report = json.loads(output.read_text())
    assert [*report["methods"]] == ["prflow"]
    figures = {"steps_per_second", "images_per_second", "peak_memory_mb", "step_gflop", "seconds_to_rmse"}
    for result in report["methods"].values():
        measured = [result[side] for side in ("textbook", "float32", "bfloat16")]
        parts = [*measured, *result["ratio"].values()]
        assert all(set(part) == figures and min(part.values()) > 0 for part in parts)
    assert all(seconds > 0 for seconds in report["harness_seconds"].values())


@pytest.mark.parametrize(
    "method",
    [
        MisGAN(width=4, latent=8, critic_steps=2, batch_size=4),
        PBiGAN(width=4, latent=8, critic_steps=2, batch_size=4, epochs=2),
    ],
    ids=lambda method: type(method).__name__,
)
def test_a_textbook_gan_steps_and_imputes(method: Imputer) -> None:
    """As the flows do in `test_ratios`, which would take twice as long with them."""
    images = made_images((1, 28, 28), count=8)
    step, impute = textbook.rendering(method, images)

    def imputed() -> Tensor:
        torch.manual_seed(0)
        return impute(images)

    before = imputed()
    for number in range(2):
        step(torch.arange(4), number)
    after = imputed()
    assert after.shape == images.pixels.shape and 0 <= after.min() <= after.max() <= 1
    assert not torch.equal(before, after)


@pytest.mark.process
def test_scale_and_schedules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(scale, "SHAPES", ((1, 28, 28),))
    for main, options in (
        (scale.main, ["--most", "1000", "--shape-images", "20", "--threads", "1"]),
        (schedules.main, ["--methods", "mcflow", "--presets", "smoke", "--images", "100"]),
    ):
        output = tmp_path / "out.json"
        ran = CliRunner().invoke(main, [*options, "--output", str(output)])
        assert ran.exit_code == 0, ran.output
        assert json.loads(output.read_text())
        assert output.with_suffix(".png").stat().st_size > 1000
        output.unlink()


def test_floor(tmp_path: Path) -> None:
    output = tmp_path / "floor.json"
    ran = CliRunner().invoke(floor.main, ["--steps", "1", "--threads", "1", "--output", str(output)])
    assert ran.exit_code == 0, ran.output
    report = json.loads(output.read_text())
    # Six couplings of two MLPs, 392-784-784-784-392, twice, and H, 784 to 784 five times; with the backward
    # pass each product counts three times, but for the first of the flow, whose input takes no gradient.
    products = 6 * 2 * 2 * (2 * 392 * 784 + 2 * 784**2) + 5 * 784**2
    unneeded = 2 * 392 * 784
    assert report["gflop"] * 1e9 == 2 * 64 * (3 * products - unneeded)


def test_authors_steps_are_counted_by_their_optimisers() -> None:
    """A loop of two optimisers and three batches: six updates, of which the last three are timed."""
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    optimisers = [torch.optim.SGD([weight], lr=1.0) for weight in weights]
    done = []
    with authors.timed(3) as seconds:
        for batch in range(100):
            for weight, optimiser in zip(weights, optimisers, strict=True):
                weight.grad = torch.ones(1)
                done.append(batch)
                optimiser.step()
    assert done == [0, 0, 1, 1, 2, 2]
    assert len(seconds) == 1 and seconds[0] > 0


def test_a_second_backward_pass_uses_the_moved_weight() -> None:
    """As in old PyTorch. y = w x, with w = 2 moved to 2 - 1 = 1 in between: dy/dx is then 1."""
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    optimiser = authors.StepsUnseen([weight], lr=1.0)
    x = torch.tensor([3.0], requires_grad=True)
    y = weight * x
    y.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    optimiser.step()
    x.grad = None
    y.backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None and x.grad.item() == pytest.approx(1.0, abs=1e-6)


def test_missing_checkouts_are_named(tmp_path: Path) -> None:
    ran = CliRunner().invoke(ratios.main, ["--authors", str(tmp_path), "--only", "misgan"])
    assert ran.exit_code == 1
    assert "has no checkout of misgan: no file ends in misgan_impute.py" in ran.output
