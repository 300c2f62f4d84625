"""A residual network for faces: the judge of CelebA that comes with the package. It has features, no classes.

It is not FaceNet. It descends from dlib's public-domain face recognition network (King, 2017), which was
trained so that two photographs of one person lie near each other. The values are those of
@vladmandic/face-api 1.7.15 (MIT; its licence lies beside the weights), most of them with one byte each.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE = 150
MEAN = (122.782, 117.001, 104.298)
AT_ONCE = 50
"""How many images go through the network together: larger batches take a third longer an image on a CPU."""
WEIGHTS = "faceresnet"
"""What the files of its weights are called."""

BLOCKS = (
    *(("conv32_1", 32, 32), ("conv32_2", 32, 32), ("conv32_3", 32, 32)),
    *(("conv64_down", 32, 64), ("conv64_1", 64, 64), ("conv64_2", 64, 64), ("conv64_3", 64, 64)),
    *(("conv128_down", 64, 128), ("conv128_1", 128, 128), ("conv128_2", 128, 128)),
    *(("conv256_down", 128, 256), ("conv256_1", 256, 256), ("conv256_2", 256, 256)),
    ("conv256_down_out", 256, 256),
)
"""The residual blocks in order: name, channels before and after. Those with "down" halve the size."""


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al., 2016). A shortcut has no weights of its own."""

    def __init__(self, before: int, after: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv1 = nn.Conv2d(before, after, 3, stride=2 if down else 1, padding=0 if down else 1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        main = self.conv2(F.relu(self.conv1(images)))
        shortcut = F.avg_pool2d(images, 2) if self.down else images
        # Pooling keeps a last row and column that the convolution without padding does not reach.
        main = F.pad(main, (0, shortcut.shape[3] - main.shape[3], 0, shortcut.shape[2] - main.shape[2]))
        shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, main.shape[1] - shortcut.shape[1]))
        return F.relu(main + shortcut)


class FaceResNet(nn.Module):
    """29 convolutions, of which 28 are in 14 residual blocks, and a linear map to 128 values.

    Takes float32 (N, 3, H, W) in [0, 1]; resizes to 150x150 and subtracts a mean colour.
    """

    name = "FaceResNet"
    layer = "face descriptor (128)"
    normalisation = f"bilinear to {SIZE}x{SIZE}, (255 x - {MEAN}) / 255 by channel"
    dimensions = 128
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv32_down = nn.Conv2d(3, 32, 7, stride=2)
        self.blocks = nn.ModuleDict(
            {name: Block(before, after, "down" in name) for name, before, after in BLOCKS}
        )
        self.fc = nn.Linear(256, 128, bias=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1) / 255, persistent=False)

    def features(self, images: Tensor) -> Tensor:
        """(N, 128), float32: descriptors, with a length of about 1.3."""
        return torch.cat([self._describe(part) for part in torch.split(images, AT_ONCE)])

    def _describe(self, images: Tensor) -> Tensor:
        large = F.interpolate(images, size=(SIZE, SIZE), mode="bilinear", antialias=True)
        seen = F.max_pool2d(F.relu(self.conv32_down(large - self.mean)), 3, stride=2)
        for block in self.blocks.values():
            seen = block(seen)
        descriptors: Tensor = self.fc(seen.mean((2, 3)))
        return descriptors


def from_stored(stored: Mapping[str, Tensor]) -> FaceResNet:
    """Build the network from what the files of its weights hold.

    Args:
        stored: of each convolution `LAYER.filters` (out, in, height, width), `LAYER.bias`, `LAYER.scale` and
            `LAYER.shift` (out,); and `fc` (128, 256). A tensor of bytes has its range beside it,
            `NAME.range`: two float64 values, step and least value.

    Raises:
        KeyError, RuntimeError: a tensor is missing or has another shape.
    """
    network = FaceResNet()
    layers = {"conv32_down": "conv32_down"}
    layers |= {
        f"{name}.{part}": f"blocks.{name}.{part}" for name, *_ in BLOCKS for part in ("conv1", "conv2")
    }
    state = {"fc.weight": values(stored, "fc").float()}
    for layer, place in layers.items():
        scale = values(stored, f"{layer}.scale")
        # A convolution whose output is scaled and shifted is one convolution.
        state[f"{place}.weight"] = (values(stored, f"{layer}.filters") * scale.view(-1, 1, 1, 1)).float()
        bias = values(stored, f"{layer}.bias") * scale + values(stored, f"{layer}.shift")
        state[f"{place}.bias"] = bias.float()
    network.load_state_dict(state)
    return network.eval()


def values(stored: Mapping[str, Tensor], name: str) -> Tensor:
    """The float32 values of a tensor, as float64, from its bytes if they are stored so."""
    tensor = stored[name]
    if tensor.dtype != torch.uint8:
        return tensor.double()
    step, least = stored[f"{name}.range"].tolist()
    exact: Tensor = (tensor.double() * step + least).float().double()
    return exact
