"""Train a classifier with cross-entropy; a training that was killed continues where it was."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOMENTUM = 0.9
LABEL_SMOOTHING = 0.1
WARM_UP = 0.2
SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Stage:
    """Some epochs on images resized to `size` x `size`; epochs may be a fraction."""

    size: int
    epochs: float


@dataclass(frozen=True)
class Schedule:
    """How to train: stages one after another under one rise and fall of the learning rate.

    The rate follows the share of all pixels shown so far, so that a stage's part of the cycle is its
    part of the cost: up linearly to `peak_rate` over the first fifth, then down linearly to zero (the
    one-cycle policy of Smith and Topin, 2018). Growing images are the progressive resizing of Coleman
    et al. (DAWNBench, 2018).

    Attributes:
        crop_padding: images are padded by this many pixels at size 32 (in proportion at others) and
            cropped at random.
        flip: whether half the images are mirrored.
        bfloat16: whether convolutions and products are in bfloat16; weights, sums of gradients and the
            loss stay in float32 (Micikevicius et al., 2018).
    """

    stages: tuple[Stage, ...]
    batch_size: int
    peak_rate: float
    weight_decay: float = 5e-4
    crop_padding: int = 4
    flip: bool = True
    bfloat16: bool = False
    seed: int = 0


@dataclass(frozen=True)
class TrainingProgress:
    """Where a training stands. `seconds_left` is measured on the pixels shown since this call."""

    step: int
    steps: int
    size: int
    loss: float
    seconds_left: float


def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    schedule: Schedule,
    *,
    fingerprint: str,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    report: Callable[[TrainingProgress], None] = lambda progress: None,
) -> None:
    """Train `model` in place, and leave it on `device` in evaluation mode.

    Each step's order and augmentation depend on the seed and the step alone, and a GPU computes with
    deterministic kernels. So a training that was killed ends with the same weights as one that was not.

    Args:
        model: takes float32 (N, C, size, size) in [0, 1], gives logits.
        images: (N, C, H, W), uint8.
        labels: (N,), int64.
        fingerprint: of the images; a checkpoint made on others is refused.
        checkpoint: a safetensors file, written every minute and after every stage.

    Raises:
        ValueError: there are fewer images than one batch, or the checkpoint is of another schedule or images.
        FloatingPointError: the loss became infinite or NaN.
    """
    sizes, shares, ends = _plan(schedule, len(images))
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, labels = images.to(device), labels.to(device)
    optimizer = _optimizer(model, schedule)
    key = json.dumps({"schedule": asdict(schedule), "fingerprint": fingerprint})
    done = _resume(checkpoint, key, model, optimizer) if checkpoint else 0
    model.train()
    started = saved = time.monotonic()
    share_at_start = shares[done - 1] if done else 0.0
    for step in range(done, len(sizes)):
        index = batch_index(step, len(images), schedule)
        batch = augment(images[index], sizes[step], step, schedule)
        rate = schedule.peak_rate * cycle(shares[step])
        loss = _descend(model, optimizer, rate, batch, labels[index], schedule.bfloat16)
        if not math.isfinite(loss):
            raise FloatingPointError(f"the classifier's loss is {loss} at step {step}")
        now = time.monotonic()
        left = (now - started) / (shares[step] - share_at_start) * (1 - shares[step])
        report(TrainingProgress(step + 1, len(sizes), sizes[step], loss, left))
        if checkpoint and (step + 1 in ends or now - saved > SAVE_SECONDS):
            _save(checkpoint, key, step + 1, model, optimizer)
            saved = now
    model.eval()


def _optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.SGD:
    """SGD with momentum. Its learning rate is set anew at each step."""
    return torch.optim.SGD(
        model.parameters(), lr=0.0, momentum=MOMENTUM, nesterov=True, weight_decay=schedule.weight_decay
    )


def _descend(
    model: nn.Module, optimizer: torch.optim.SGD, rate: float, batch: Tensor, labels: Tensor, bfloat16: bool
) -> float:
    """One step of gradient descent at a learning rate; the loss before it."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=bfloat16):
            logits = model(batch)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=LABEL_SMOOTHING)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def _plan(schedule: Schedule, count: int) -> tuple[list[int], list[float], set[int]]:
    """Each step's size, the share of all pixels shown after each step, and the steps that end a stage.

    Raises:
        ValueError: there are fewer images than one batch.
    """
    if count < schedule.batch_size:
        raise ValueError(
            f"{count} training images are fewer than one batch of {schedule.batch_size}; give more"
        )
    sizes: list[int] = []
    ends: set[int] = set()
    batches = count // schedule.batch_size
    for stage in schedule.stages:
        sizes += [stage.size] * max(1, round(stage.epochs * batches))
        ends.add(len(sizes))
    shown = torch.tensor(sizes).double().square().cumsum(0)
    return sizes, (shown / shown[-1]).tolist(), ends


def cycle(share: float) -> float:
    """The learning rate as a fraction of its peak, after a share in [0, 1] of the training."""
    return min(share / WARM_UP, (1 - share) / (1 - WARM_UP))


def batch_index(step: int, count: int, schedule: Schedule) -> Tensor:
    """(batch_size,), int64: which images step `step` shows. Every epoch has its own order."""
    epoch, batch = divmod(step, count // schedule.batch_size)
    generator = torch.Generator().manual_seed(schedule.seed * 2**32 + epoch)
    order = torch.randperm(count, generator=generator)
    return order[batch * schedule.batch_size : (batch + 1) * schedule.batch_size]


def augment(images: Tensor, size: int, step: int, schedule: Schedule) -> Tensor:
    """Resize, crop at random from a padded frame, mirror at random.

    Args:
        images: (N, C, H, W), uint8.

    Returns:
        (N, C, size, size), float32 in [0, 1].
    """
    generator = torch.Generator().manual_seed(schedule.seed * 2**32 + 2**31 + step)
    batch = images.float() / 255
    if batch.shape[2:] != (size, size):
        batch = F.interpolate(batch, size=(size, size), mode="bilinear", antialias=True)
    padding = max(1, schedule.crop_padding * size // 32)
    count, channels = batch.shape[:2]
    offsets = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator)
    line = torch.arange(size)
    rows, columns = offsets[0] + line, offsets[1] + line
    if schedule.flip:
        flipped = torch.rand(count, 1, generator=generator) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    padded = F.pad(batch, [padding] * 4)
    rows = rows.to(batch.device)[:, None, :, None]
    columns = columns.to(batch.device)[:, None, None, :]
    image, channel = torch.arange(count)[:, None, None, None], torch.arange(channels)[:, None, None]
    return padded[image.to(batch.device), channel.to(batch.device), rows, columns]


@torch.inference_mode()
def predict(model: nn.Module, images: Tensor, batch_size: int = 500) -> Tensor:
    """(N,), int64 on the CPU: the most likely class of each of (N, C, H, W) uint8 images."""
    device = next(model.parameters()).device
    starts = range(0, len(images), batch_size)
    batches = (images[start : start + batch_size].to(device).float() / 255 for start in starts)
    return torch.cat([model(batch).argmax(1).cpu() for batch in batches])


def _save(path: Path, key: str, step: int, model: nn.Module, optimizer: torch.optim.SGD) -> None:
    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        tensors[f"momentum.{name}"] = optimizer.state[parameter]["momentum_buffer"].contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    safetensors.torch.save_file(tensors, partial, {"key": key, "step": str(step)})
    partial.replace(path)


def _resume(path: Path, key: str, model: nn.Module, optimizer: torch.optim.SGD) -> int:
    """Load the checkpoint if it is there and complete. Returns the number of steps that are done."""
    if not path.exists():
        return 0
    device = str(next(model.parameters()).device)
    try:
        with safetensors.safe_open(path, framework="pt", device=device) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError:
        # Damaged, as by a failing disk. Training again from the beginning costs only time.
        return 0
    if metadata.get("key") != key:
        raise ValueError(f"{path} was made with another schedule or other images: remove it")
    model.load_state_dict(
        {name.removeprefix("model."): tensor for name, tensor in tensors.items() if name.startswith("model.")}
    )
    for name, parameter in model.named_parameters():
        buffer = torch.empty_like(parameter).copy_(tensors[f"momentum.{name}"])
        optimizer.state[parameter]["momentum_buffer"] = buffer
    return int(metadata["step"])
