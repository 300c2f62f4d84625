"""FaceNet through facenet-pytorch: the judge of CelebA where its file is given. It knows no classes."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.classifiers import vision

SIZE = 160
# The head for VGGFace2's identities comes with the published file, and a judge has no use for it.
HEAD = "logits."
CONNECT_SECONDS = 20.0


class FaceNetUnavailable(Exception):
    """The weights are not available; `str(error)` says why, on one line."""


class FaceNet(nn.Module):
    """InceptionResnetV1 trained on VGGFace2 (Schroff et al., 2015; weights of facenet-pytorch).

    Takes float32 (N, 3, H, W) in [0, 1]; resizes to 160x160 and normalises to (255 x - 127.5) / 128,
    as facenet-pytorch does for its own weights.
    """

    name = "FaceNet"
    layer = "embedding of unit length (512)"
    normalisation = "bilinear to 160x160, (255 x - 127.5) / 128"
    dimensions = 512

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def features(self, images: Tensor) -> Tensor:
        """(N, 512), float32: embeddings of unit length."""
        large = F.interpolate(images, size=(SIZE, SIZE), mode="bilinear", antialias=True)
        embedding: Tensor = self.network((large * 255 - 127.5) / 128)
        return embedding


def from_file(path: Path) -> FaceNet:
    """Build FaceNet with weights from a safetensors file, or from the .pt that facenet-pytorch publishes.

    Raises:
        FaceNetUnavailable: the file can't be read or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            state: Mapping[str, Tensor] = safetensors.torch.load_file(path)
        else:
            # The published file is a pickle. This reader takes tensors from it and refuses everything else.
            state = torch.load(path, map_location="cpu", weights_only=True)
        state = {name: tensor for name, tensor in state.items() if not name.startswith(HEAD)}
        network: nn.Module = vision.load("facenet_pytorch").InceptionResnetV1()
        network.load_state_dict(state)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FaceNetUnavailable(f"{path.name} holds no FaceNet weights ({reason})") from error
    return FaceNet(network.eval())


def downloaded(name: str) -> Path | None:
    """The file `name` where facenet-pytorch keeps what it downloads; None if it is not there."""
    # The folder lies beside that of torch.hub. To import the package and ask it would take seconds.
    path = Path(torch.hub.get_dir()).parent / "checkpoints" / name
    return path if path.is_file() else None


def from_download() -> FaceNet:
    """Build FaceNet with the VGGFace2 weights that facenet-pytorch downloads and keeps.

    Raises:
        FaceNetUnavailable: the download failed.
    """
    before = socket.getdefaulttimeout()
    # Behind a firewall that drops packets, the default time limit is minutes.
    socket.setdefaulttimeout(CONNECT_SECONDS)
    try:
        network: nn.Module = vision.load("facenet_pytorch").InceptionResnetV1(pretrained="vggface2")
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FaceNetUnavailable(f"facenet-pytorch could not fetch its weights ({reason})") from error
    finally:
        socket.setdefaulttimeout(before)
    del network.logits
    return FaceNet(network.eval())
