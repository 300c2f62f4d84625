"""`python -m benchmarks.face_judge FOLDER`: the weights of the face judge that comes with the package.

For maintainers. FOLDER holds the face recognition model of the npm package @vladmandic/face-api 1.7.15 (its
folder `model`) and its licence. One byte stays one byte, so nothing is rounded.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from bench.classifiers import faceresnet, weights
from bench.judges.judge import describe

MANIFEST = "face_recognition_model-weights_manifest.json"
SOURCE = "@vladmandic/face-api 1.7.15, face_recognition_model (MIT)"
PARTS = {"conv/filters": "filters", "conv/bias": "bias", "scale/weights": "scale", "scale/biases": "shift"}


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Convert the original files in FOLDER, and put their licence beside the weights."""
    for path in write(folder, weights.PACKAGED):
        click.echo(f"{path}: {path.stat().st_size:,} bytes")


def write(folder: Path, target: Path) -> list[Path]:
    """Write the weights and the licence. Returns their paths."""
    stored = read(folder)
    facts = {**describe(faceresnet.from_stored(stored)), "source": SOURCE}
    paths = weights.save(target, faceresnet.WEIGHTS, stored, facts)
    licence = target / f"{faceresnet.WEIGHTS}.LICENSE"
    shutil.copyfile(folder / "LICENSE", licence)
    return [*paths, licence]


def read(folder: Path) -> dict[str, Tensor]:
    """The tensors of the original files under our names, as `faceresnet.from_stored` takes them.

    Raises:
        ValueError: the file of the values has another length than the manifest says.
    """
    (group,) = json.loads((folder / MANIFEST).read_text())
    (name,) = group["paths"]
    content = (folder / name).read_bytes()
    stored: dict[str, Tensor] = {}
    start = 0
    for entry in group["weights"]:
        kind = np.dtype("uint8" if "quantization" in entry else "<f4")
        count = int(np.prod(entry["shape"]))
        array = np.frombuffer(content, kind, count, start).reshape(entry["shape"])
        start += array.nbytes
        stored |= _renamed(entry, array)
    if start != len(content):
        raise ValueError(f"{name} holds {len(content):,} bytes where its manifest tells of {start:,}")
    return stored


def _renamed(entry: dict[str, Any], array: np.ndarray[Any, Any]) -> dict[str, Tensor]:
    """One entry under our name, with outputs first, and its range if it is of bytes."""
    layer, _, part = entry["name"].rpartition("/conv/" if "/conv/" in entry["name"] else "/scale/")
    middle = "conv" if "/conv/" in entry["name"] else "scale"
    name = f"{layer.replace('/', '.')}.{PARTS[f'{middle}/{part}']}" if layer else entry["name"]
    # (height, width, in, out) and (in, out).
    order = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim]
    stored = {name: torch.from_numpy(np.ascontiguousarray(array.transpose(order)).copy())}
    if "quantization" in entry:
        facts = entry["quantization"]
        stored[f"{name}.range"] = torch.tensor([facts["scale"], facts["min"]], dtype=torch.float64)
    return stored


if __name__ == "__main__":
    main()
