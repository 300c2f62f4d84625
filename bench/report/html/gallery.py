"""The stored test images for the page: those of each cell side by side in one PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.report.groups import Group
from bench.report.layout import dataset_order
from bench.report.samples import Samples, SampleSet, chosen_images, sample_sets

Gallery = dict[str, Any]

MOST_SEEDS = 3
"""How many seeds of a data set have a gallery: each makes the page larger by all methods' images."""


def galleries(groups: Sequence[Group], count: int) -> list[Gallery]:
    """A gallery for each group, data set and seed, of the first seeds, as JSON for the page's script.

    Each has `title`, `height`, `width`, `images` (positions among the test images), `complete` (a PNG with
    the images side by side), `rates` (each with `rate` and `observed`, a PNG in which observed pixels are
    white), and `methods` (each with `label` and `imputed`, a PNG or null for each rate).

    Args:
        count: how many images, evenly spaced over the stored ones.
    """
    found = []
    for group in groups:
        for dataset in dataset_order(group):
            seeds = sorted({one.cell.seed for one in group.of_dataset(dataset) if one.ok})
            for seed in seeds[:MOST_SEEDS]:
                if sets := _of_same_images(sample_sets(group, dataset, seed)):
                    found.append(_gallery(group, dataset, seed, sets, count, alone=len(groups) == 1))
    return found


def _of_same_images(sets: Sequence[SampleSet]) -> list[SampleSet]:
    """The sets whose images are those of the first rate, so that a reader sees one image at all rates."""
    return [one for one in sets if np.array_equal(one.truth.complete, sets[0].truth.complete)]


def _gallery(
    group: Group, dataset: str, seed: int, sets: Sequence[SampleSet], count: int, alone: bool
) -> Gallery:
    truth = sets[0].truth
    chosen = chosen_images(count, len(truth.index))
    lines = list(dict.fromkeys(line for one in sets for line in one.by_line))
    where = "" if alone else f", {group.title[0].lower()}{group.title[1:]}"
    return {
        "title": f"{group.spelled('dataset', dataset)}, seed {seed}{where}",
        "height": truth.complete.shape[2],
        "width": truth.complete.shape[3],
        "images": [int(truth.index[position]) for position in chosen],
        "complete": png(truth.complete[chosen]),
        "rates": [{"rate": f"{one.rate:.0%}", "observed": png(one.truth.observed[chosen])} for one in sets],
        "methods": [
            {"label": line.label(group), "imputed": [_imputed(one.by_line.get(line), chosen) for one in sets]}
            for line in lines
        ],
    }


def _imputed(samples: Samples | None, chosen: Sequence[int]) -> str | None:
    return None if samples is None else png(samples.imputed[list(chosen)])


def png(images: NDArray[np.uint8] | NDArray[np.bool_]) -> str:
    """Images (K, C, H, W) side by side in one PNG of H rows and K W columns, as base64."""
    strip = np.concatenate(list(images), axis=2)
    grey = strip.shape[0] == 1
    picture = Image.fromarray(strip[0] if grey else np.ascontiguousarray(strip.transpose(1, 2, 0)))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()
