"""The face judge: against the original's own output, and against its description, written out in NumPy."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.classifiers import faceresnet, weights
from benchmarks import face_judge

SHARED = Path(__file__).parents[3] / "shared" / "data"
ORIGINAL = SHARED / "face-recognition"
FACES = SHARED / "celeba-first10000-half.tar.xz"

Array = NDArray[np.float64]
Layer = Callable[..., Array]


@pytest.fixture(scope="module")
def network() -> faceresnet.FaceResNet:
    return faceresnet.from_stored(weights.load(weights.PACKAGED, faceresnet.WEIGHTS)[0])


def features(network: faceresnet.FaceResNet, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 128), of images (N, H, W, 3)."""
    with torch.inference_mode():
        found: NDArray[np.float32] = network.features(
            torch.from_numpy(images.transpose(0, 3, 1, 2)) / 255
        ).numpy()
    return found


def test_it_gives_what_the_original_gave(network: faceresnet.FaceResNet) -> None:
    """The original was run in Node on four faces; its output is printed with six decimals."""
    if not FACES.exists():
        pytest.skip("the faces are not here")
    recorded = json.loads(Path(__file__).with_name("faceresnet.json").read_text())
    faces: list[NDArray[np.uint8]] = []
    with tarfile.open(FACES) as archive:
        while len(faces) < 4:
            member = archive.next()
            assert member is not None
            if member.isfile():
                assert Path(member.name).name == f"{len(faces) + 1:06}.jpg"
                file = archive.extractfile(member)
                assert file is not None
                face = Image.open(file).convert("RGB")
                faces.append(np.asarray(face.resize((150, 150), Image.Resampling.BILINEAR)))
    found = features(network, np.stack(faces))
    assert np.abs(found - np.array(recorded["embeddings"])).max() < 4e-6


def test_it_is_the_network_that_its_description_tells_of(network: faceresnet.FaceResNet) -> None:
    image = np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    assert features(network, image[None])[0] == pytest.approx(described(image), abs=4e-6)


def described(image: NDArray[np.uint8]) -> Array:
    """(128,): the network of an image (150, 150, 3), as the README beside the original tells it."""
    stored = {name: each.numpy() for name, each in weights.load(weights.PACKAGED, "faceresnet")[0].items()}

    def value(name: str) -> Array:
        kept = stored[name].astype(np.float64)
        step, least = stored.get(f"{name}.range", (1.0, 0.0))
        return kept * step + least

    def conv(x: Array, name: str, stride: int = 1, padding: int = 1) -> Array:
        x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
        kernel = value(f"{name}.filters")
        side = kernel.shape[2]
        rows, columns = ((size - side) // stride + 1 for size in x.shape[:2])
        out = np.zeros((rows, columns, len(kernel)))
        for i in range(side):
            for j in range(side):
                seen = x[i : i + stride * rows : stride, j : j + stride * columns : stride]
                out += seen @ kernel[:, :, i, j].T
        return (out + value(f"{name}.bias")) * value(f"{name}.scale") + value(f"{name}.shift")

    def pooled(x: Array, side: int, combine: Layer) -> Array:
        rows, columns = ((size - side) // 2 + 1 for size in x.shape[:2])
        shifted = [x[i : i + 2 * rows : 2, j : j + 2 * columns : 2] for i in range(side) for j in range(side)]
        return combine(np.stack([each[:rows, :columns] for each in shifted]), axis=0)

    def relu(x: Array) -> Array:
        return np.maximum(x, 0)

    x = (image - np.array([122.782, 117.001, 104.298])) / 255
    x = pooled(relu(conv(x, "conv32_down", 2, 0)), 3, np.max)
    plain = {
        32: ["conv32_1", "conv32_2", "conv32_3"],
        64: ["conv64_down", "conv64_1", "conv64_2", "conv64_3"],
    }
    plain |= {128: ["conv128_down", "conv128_1", "conv128_2"]}
    plain |= {256: ["conv256_down", "conv256_1", "conv256_2", "conv256_down_out"]}
    for width, names in plain.items():
        for name in names:
            down = "_down" in name
            main = relu(conv(x, f"{name}.conv1", 2, 0) if down else conv(x, f"{name}.conv1"))
            main = conv(main, f"{name}.conv2")
            total = np.zeros((*(pooled(x, 2, np.mean) if down else x).shape[:2], width))
            total[: main.shape[0], : main.shape[1]] = main
            total[:, :, : x.shape[2]] += pooled(x, 2, np.mean) if down else x
            x = relu(total)
    descriptor: Array = value("fc") @ x.mean((0, 1))
    return descriptor


def test_small_images_are_enlarged_as_pillow_enlarges_them(network: faceresnet.FaceResNet) -> None:
    small = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    planes = [Image.fromarray(small[:, :, channel].astype(np.float32)) for channel in range(3)]
    large = np.stack([np.asarray(each.resize((150, 150), Image.Resampling.BILINEAR)) for each in planes])
    with torch.inference_mode():
        expected = network.features(torch.from_numpy(large)[None] / 255).numpy()
    assert features(network, small[None]) == pytest.approx(expected, abs=4e-6)


def test_the_weights_are_those_of_the_original_files(tmp_path: Path) -> None:
    if not ORIGINAL.exists():
        pytest.skip("the original files are not here")
    *_, licence = face_judge.write(ORIGINAL, tmp_path)
    assert licence.read_bytes() == (weights.PACKAGED / licence.name).read_bytes()
    # Two files of the same weights may name their facts in another order.
    (written, facts), (packaged, told) = (
        weights.load(folder, faceresnet.WEIGHTS) for folder in (tmp_path, weights.PACKAGED)
    )
    assert facts == told
    assert written.keys() == packaged.keys()
    assert all(torch.equal(written[name], packaged[name]) for name in written)


def write_original(folder: Path) -> None:
    """A manifest of three small tensors, and their values: two of bytes, one of float32."""
    stepped = {"quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0}}
    entries = [
        {"name": "conv32_down/conv/filters", "shape": [1, 2, 3, 2], "dtype": "float32", **stepped},
        {"name": "conv32_1/conv2/scale/biases", "shape": [2], "dtype": "float32"},
        {"name": "fc", "shape": [2, 3], "dtype": "float32", **stepped},
    ]
    (folder / face_judge.MANIFEST).write_text(json.dumps([{"weights": entries, "paths": ["values.bin"]}]))
    content = bytes(range(12)) + np.array([7.25, -1], "<f4").tobytes() + bytes(range(6))
    (folder / "values.bin").write_bytes(content)


def test_tensors_are_read_one_after_the_other_and_turned(tmp_path: Path) -> None:
    write_original(tmp_path)
    stored = face_judge.read(tmp_path)
    filters = faceresnet.values(stored, "conv32_down.filters")
    # Byte 6 y + 2 x + z of (height 1, width 2, in 3, out 2), counted in halves from -1.
    assert filters.shape == (2, 3, 1, 2)
    assert filters[1, 2, 0, 0] == -1 + 0.5 * (2 * 2 + 1) and filters[0, 1, 0, 1] == -1 + 0.5 * (6 + 2)
    assert faceresnet.values(stored, "conv32_1.conv2.shift").tolist() == [7.25, -1]
    assert faceresnet.values(stored, "fc").tolist() == [[-1, 0.5], [-0.5, 1], [0, 1.5]]


def test_values_that_the_manifest_does_not_tell_of_are_refused(tmp_path: Path) -> None:
    write_original(tmp_path)
    with (tmp_path / "values.bin").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match=r"values\.bin holds 27 bytes where its manifest tells of 26"):
        face_judge.read(tmp_path)
