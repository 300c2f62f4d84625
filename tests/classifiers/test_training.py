"""A classifier's training: it learns, it goes on where it was, its batches are what they say."""

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from bench.classifiers import lenet, resnet18, training
from bench.classifiers.training import Schedule, Stage

SCHEDULE = Schedule(stages=(Stage(8, 1.5), Stage(12, 1)), batch_size=8, peak_rate=0.05)


class Killed(Exception):
    pass


def steps_of(model: nn.Module, checkpoint: Path, schedule: Schedule = SCHEDULE) -> list[int]:
    """Train with a checkpoint; the steps that this call took."""
    seen: list[int] = []
    training.train(
        model,
        *red_or_blue(),
        schedule,
        fingerprint="f",
        checkpoint=checkpoint,
        report=lambda progress: seen.append(progress.step),
    )
    return seen


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


def red_or_blue(count: int = 64) -> tuple[Tensor, Tensor]:
    """Noise, with more red in the images of class 0 and more blue in those of class 1."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 128, (count, 3, 12, 12), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % 2
    images[labels == 0, 0] += 100
    images[labels == 1, 2] += 100
    return images, labels


def test_learns_what_a_line_can_tell() -> None:
    model = tiny()
    images, labels = red_or_blue()
    schedule = replace(SCHEDULE, stages=(Stage(12, 12),))
    training.train(model, images, labels, schedule, fingerprint="f")
    assert (training.predict(model, images) == labels).float().mean() > 0.95


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_schedule_says_how_precise_convolutions_are(bfloat16: bool) -> None:
    """Weights and momentum, which add up many small steps, are float32 in any case."""
    model, seen = tiny(), set()
    next(model.children()).register_forward_hook(lambda _, __, output: seen.add(output.dtype))
    images, labels = red_or_blue()
    schedule = replace(SCHEDULE, stages=(Stage(12, 12),), bfloat16=bfloat16)
    training.train(model, images, labels, schedule, fingerprint="f")
    assert seen == {torch.bfloat16 if bfloat16 else torch.float32}
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    assert (training.predict(model, images) == labels).float().mean() > 0.95


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_killed_training_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bfloat16: bool
) -> None:
    monkeypatch.setattr(training, "SAVE_SECONDS", -1.0)
    images, labels = red_or_blue()
    schedule = replace(SCHEDULE, bfloat16=bfloat16)
    whole = tiny()
    training.train(whole, images, labels, schedule, fingerprint="f")

    def kill(progress: training.TrainingProgress) -> None:
        if progress.step == 14:
            raise Killed

    checkpoint = tmp_path / "judge.checkpoint"
    with pytest.raises(Killed):
        training.train(tiny(), images, labels, schedule, fingerprint="f", checkpoint=checkpoint, report=kill)
    resumed = tiny()
    assert steps_of(resumed, checkpoint, schedule) == list(range(14, 21))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    images, labels = red_or_blue()
    checkpoint = tmp_path / "judge.checkpoint"
    whole, again = tiny(), tiny()
    training.train(whole, images, labels, SCHEDULE, fingerprint="f", checkpoint=checkpoint)
    training.train(
        again,
        images,
        labels,
        SCHEDULE,
        fingerprint="f",
        checkpoint=checkpoint,
        report=lambda progress: pytest.fail("another step"),
    )
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_a_checkpoint_of_other_images_is_refused(tmp_path: Path) -> None:
    images, labels = red_or_blue()
    checkpoint = tmp_path / "judge.checkpoint"
    training.train(tiny(), images, labels, SCHEDULE, fingerprint="f", checkpoint=checkpoint)
    with pytest.raises(ValueError, match=r"judge\.checkpoint.*remove it"):
        training.train(tiny(), images, labels, SCHEDULE, fingerprint="other", checkpoint=checkpoint)
    with pytest.raises(ValueError, match=r"judge\.checkpoint.*remove it"):
        other = replace(SCHEDULE, seed=1)
        training.train(tiny(), images, labels, other, fingerprint="f", checkpoint=checkpoint)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_torn_checkpoint_counts_as_none(tmp_path: Path, kept: int) -> None:
    images, labels = red_or_blue()
    checkpoint = tmp_path / "judge.checkpoint"
    training.train(tiny(), images, labels, SCHEDULE, fingerprint="f", checkpoint=checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:kept])
    assert steps_of(tiny(), checkpoint) == list(range(1, 21))


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    images, labels = red_or_blue()
    checkpoint = tmp_path / "judge.checkpoint"
    safetensors.torch.save_file({"weight": torch.zeros(2)}, checkpoint)
    with pytest.raises(ValueError, match=r"judge\.checkpoint.*remove it"):
        training.train(tiny(), images, labels, SCHEDULE, fingerprint="f", checkpoint=checkpoint)


def test_fewer_images_than_one_batch_are_refused() -> None:
    images, labels = red_or_blue(7)
    with pytest.raises(ValueError, match="7 training images are fewer than one batch of 8; give more"):
        training.train(tiny(), images, labels, SCHEDULE, fingerprint="f")


def test_an_infinite_loss_stops_the_training() -> None:
    images, labels = red_or_blue()
    with pytest.raises(FloatingPointError, match="loss is nan at step"):
        training.train(tiny(), images, labels, replace(SCHEDULE, peak_rate=float("nan")), fingerprint="f")


def test_an_epoch_shows_each_image_once_and_in_a_new_order() -> None:
    epochs = [
        torch.cat([training.batch_index(step, 64, SCHEDULE) for step in range(start, start + 8)])
        for start in (0, 8)
    ]
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(64))
    assert epochs[0].tolist() != epochs[1].tolist()


def test_the_rate_rises_over_a_fifth_and_falls_to_zero() -> None:
    assert [training.cycle(share) for share in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_a_crop_is_a_shift_of_the_image_or_of_its_mirror() -> None:
    """Each augmented image is found, by trying them all, among the shifts over a frame of zeros."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(1, 256, (40, 2, 32, 32), generator=generator, dtype=torch.uint8)
    schedule = replace(SCHEDULE, crop_padding=2)
    found = []
    for image, crop in zip(images, training.augment(images, 32, 5, schedule), strict=True):
        framed = torch.zeros(2, 36, 36)
        framed[:, 2:34, 2:34] = image / 255
        for row in range(5):
            for column in range(5):
                shifted = framed[:, row : row + 32, column : column + 32]
                for mirrored, candidate in ((False, shifted), (True, shifted.flip(2))):
                    if torch.equal(candidate, crop):
                        found.append((row, column, mirrored))
    assert len(found) == 40
    assert {row for row, _, _ in found} == set(range(5)) == {column for _, column, _ in found}
    assert 8 < sum(mirrored for _, _, mirrored in found) < 32


def test_half_size_is_smooth() -> None:
    """Halving a checkerboard of single pixels gives grey; dropping every other pixel would not."""
    board = ((torch.arange(32)[:, None] + torch.arange(32)) % 2 * 255).to(torch.uint8).expand(4, 1, 32, 32)
    inner = training.augment(board, 16, 0, replace(SCHEDULE, crop_padding=2))[..., 4:12, 4:12]
    assert torch.allclose(inner, torch.full_like(inner, 0.5), atol=0.02)


def test_lenet_has_the_published_size() -> None:
    """61,706 parameters (LeCun et al., 1998, with full connections between feature maps)."""
    assert sum(parameter.numel() for parameter in lenet.build().parameters()) == 61706


def test_resnet18_keeps_the_resolution_of_small_images() -> None:
    """11,173,962 parameters: what the 3x3 stem and ten classes leave of the published network."""
    model = resnet18.build().eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 11173962
    sizes = []
    model.network.layer1.register_forward_hook(lambda _, __, output: sizes.append(output.shape))
    model.network.layer4.register_forward_hook(lambda _, __, output: sizes.append(output.shape))
    images = torch.rand(2, 3, 32, 32)
    assert model(images).shape == (2, 10)
    assert sizes == [(2, 64, 32, 32), (2, 512, 4, 4)]
    assert torch.equal(model.output(model.features(images)), model(images))


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = lenet.build(seed=1)
    assert torch.equal(torch.rand(3), expected)
    same, other = lenet.build(seed=1), lenet.build(seed=2)
    assert torch.equal(first.output.weight, same.output.weight)
    assert not torch.equal(first.output.weight, other.output.weight)
