"""Figures: what is drawn are the stored numbers and images, and no text is cut off or written over."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from bench.errors import BenchError
from bench.report.figures import pictures, plots, ranks
from bench.report.figures.style import Drawn, save, styled
from bench.report.groups import Group, group_results
from bench.report.metrics import SCORES
from bench.report.samples import chosen_images, sample_sets
from bench.store.results import read_results
from tests.bench.report.pictured import store_with_images
from tests.bench.report.stored import failed, result, store

NAMES = (
    "MCFlow",
    "Linear interpolation",
    "$x_1$ & a name_with no end, of many words and one Donaudampfschiffahrtsgesellschaftskapitän",
)


def group_of(root: Path) -> Group:
    (group,), _ = group_results(read_results(root)[0])
    return group


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Group:
    """Seven methods with hard names on two data sets at two rates, two seeds on one of them."""
    documents = [
        result(
            f"m{number}" if number else "prflow",
            dataset,
            rate,
            seed,
            rmse=0.1 + number / 50 + seed / 100,
            fid=0.01 * 3.0**number,
            scc=None if dataset == "celeba" else 0.95 - number / 20,
            display={"method": NAMES[number % 3] + " " * (number > 2) + str(number), "baseline": number > 3},
            cost={"fit_seconds": 10.0**number / 1000},
            fit={"history": [{"a long name of a loss": 3.0, "J": -1e4}, {"J": 5.0}]},
        )
        for number in range(7)
        for dataset, seeds in (("mnist", (0, 1)), ("celeba", (0,)))
        for rate in (0.6, 0.9)
        for seed in seeds
    ]
    return group_of(store_with_images(tmp_path_factory.mktemp("runs"), *documents))


@pytest.fixture(scope="module")
def figures(grid: Group) -> list[Drawn]:
    """A figure of every kind, drawn once."""
    with styled():
        drawn = [one for one in drawn_of(grid) if one is not None]
    assert len(drawn) == 8
    return drawn


def drawn_of(group: Group) -> Iterator[Drawn | None]:
    sets = sample_sets(group, "mnist")
    yield pictures.with_errors(group, sets, [0, 5], rule=True)
    yield pictures.with_errors(group, sets[:1], [1], rule=True)
    yield pictures.side_by_side(group, sample_sets(group, "celeba")[0], [0, 1, 2], rule=False)
    yield plots.against_rate(group, SCORES)
    yield plots.against_cost(group, SCORES)
    yield plots.training(group, "mnist")
    yield ranks.critical_differences(group, SCORES[0])
    # With bars: two data sets tell nothing apart.
    yield Drawn("ranks-bars", ranks._draw(NAMES, (1.2, 1.9, 2.9), 1.0), "")


def boxes(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text that is shown, and where it is, once the layout is done."""
    figure.savefig(io.BytesIO(), format="png", dpi=figure.dpi)
    hidden = {id(text) for axes in figure.axes for text in unshown(axes)}
    return [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(Text)
        if isinstance(text, Text)
        and text.get_visible()
        and text.get_text().strip()
        and id(text) not in hidden
    ]


def unshown(axes: Axes) -> Iterator[object]:
    """The texts of ticks that lie beyond the axis, or of an axis that is off."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not axes.axison or not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


def test_no_text_is_cut_off_or_over_another(figures: list[Drawn]) -> None:
    with styled():
        for drawn in figures:
            figure = drawn.figure
            found = boxes(figure)
            assert len(found) > 3, drawn.name
            for text, box in found:
                inside = figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
                assert inside and figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, (
                    drawn.name,
                    text,
                    box,
                )
            for position, (text, box) in enumerate(found):
                for other, other_box in found[:position]:
                    # The boxes of slanted titles overlap where the letters do not.
                    slanted = drawn.name.startswith(("errors", "images"))
                    overlap = Bbox.intersection(box, other_box)
                    over = overlap is not None and overlap.width > 1 and overlap.height > 1
                    assert slanted or not over, (drawn.name, text, other)


def test_figures_fit_a_page(figures: list[Drawn]) -> None:
    assert max(drawn.figure.get_figwidth() for drawn in figures) < 7.1
    assert max(drawn.figure.get_figheight() for drawn in figures) < 10


def test_a_figure_is_written_as_png_and_pdf_with_its_caption(figures: list[Drawn], tmp_path: Path) -> None:
    (ranking,) = [drawn for drawn in figures if drawn.name == "ranks-rmse"]
    with styled():
        paths = save(ranking, tmp_path / "out", ["png", "pdf"])
    assert [path.name for path in paths] == ["ranks-rmse.png", "ranks-rmse.pdf", "ranks-rmse.txt"]
    assert paths[0].read_bytes()[:4] == b"\x89PNG" and paths[1].read_bytes()[:4] == b"%PDF"
    assert paths[2].read_text(encoding="utf-8").strip() == ranking.caption


def picture_axes(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.images]


def test_layout_of_figures_2_and_3(tmp_path: Path) -> None:
    """Observed over complete at the left, imputed over squared errors in a column a method, by rate."""
    documents = [
        result(method, rate=rate, rmse=0.3) for method in ("mcflow", "prflow") for rate in (0.8, 0.9)
    ]
    root = store_with_images(tmp_path, *documents)
    group = group_of(root)
    with styled():
        figure = pictures.with_errors(group, sample_sets(group, "mnist"), [3], rule=False).figure
    places = picture_axes(figure)
    # From the top, then from the left.
    places.sort(key=lambda axes: (-round(axes.get_position().y0, 3), axes.get_position().x0))
    assert len(places) == 2 * 2 * 3
    shown = [np.asarray(axes.images[0].get_array()) for axes in places]
    for first, rate in ((0, 0.8), (6, 0.9)):
        (path,) = root.glob(f"mnist/pixel-{rate}/mcflow*/seed-0/samples.npz")
        stored = np.load(path)
        complete, observed, imputed = (stored[name][3, 0] for name in ("complete", "observed", "imputed"))
        assert np.array_equal(shown[first][..., 0][observed], complete[observed])
        assert (shown[first][..., 0][~observed] == 128).all()
        assert np.array_equal(shown[first + 3][..., 1], complete)
        assert np.array_equal(shown[first + 1][..., 2], imputed)
        errors = (imputed / 255 - complete / 255) ** 2
        assert shown[first + 4] == pytest.approx(errors)
        assert (shown[first + 4][observed] == 0).all()
    scales = {
        axes.images[0].get_clim() for axes in places if np.asarray(axes.images[0].get_array()).ndim == 2
    }
    assert len(scales) == 1
    titles = [text.get_text().replace("\n", " ") for text in figure.texts]
    assert titles[:3] == ["observed / complete", "MCFlow", "PRFlow"]
    assert titles[3:5] == ["80% missing", "90% missing"]


def test_layout_of_figures_4_and_5(tmp_path: Path) -> None:
    group = group_of(store_with_images(tmp_path, result("prflow", "cifar10"), result("mcflow", "cifar10")))
    (one,) = sample_sets(group, "cifar10")
    with styled():
        drawn = pictures.side_by_side(group, one, [2, 4], rule=False)
    titles = [text.get_text() for text in drawn.figure.texts if text.get_text()]
    assert titles == ["complete", "observed", "MCFlow", "PRFlow"]
    shown = [np.asarray(axes.images[0].get_array()) for axes in picture_axes(drawn.figure)]
    assert len(shown) == 2 * 4
    assert np.array_equal(shown[0], one.truth.complete[2].transpose(1, 2, 0))
    assert "Test images 200, 400, as asked for." in drawn.caption


def test_a_figure_of_any_data_set_has_a_name_that_latex_includes(tmp_path: Path) -> None:
    fit = {"history": [{"J": 1.0}]}
    group = group_of(store_with_images(tmp_path, result("prflow", "my faces 100%_ü", fit=fit)))
    sets = sample_sets(group, "my faces 100%_ü")
    with styled():
        drawn = [
            pictures.with_errors(group, sets, [0], rule=True),
            pictures.side_by_side(group, sets[0], [0], rule=True),
            plots.training(group, "my faces 100%_ü"),
        ]
    # The hash tells names apart that lose a letter.
    assert [re.sub("-[0-9a-f]{12}$", "-HASH", one.name) for one in drawn if one] == [
        "errors-my-faces-100-_--0.8-HASH",
        "images-my-faces-100-_--0.8-HASH",
        "training-my-faces-100-_--HASH",
    ]


def test_images_are_chosen_by_the_rule_or_as_asked_for() -> None:
    assert chosen_images(4, 64) == [0, 16, 32, 48]
    assert chosen_images(6, 3) == [0, 1, 2]
    assert chosen_images(6, 64, [14, 3]) == [14, 3]
    with pytest.raises(BenchError, match="image 64 is not stored; choose from 0 to 63"):
        chosen_images(1, 64, [64])


def test_a_method_without_images_is_told_in_the_caption(tmp_path: Path) -> None:
    long = {"batch_size": 32, "epochs": 4, "imputer_learning_rate": 0.0006, "learning_rate": 0.0003}
    elsewhere = result("pbigan", rate=0.9, cell=result("pbigan")["cell"] | {"settings": long, "rate": 0.9})
    documents = [result("prflow"), result("mcflow"), result("a"), failed("misgan", "it broke"), elsewhere]
    root = store_with_images(tmp_path, *documents)
    (torn,) = root.rglob("mcflow*/seed-0/samples.npz")
    torn.write_bytes(torn.read_bytes()[:300])
    (other,) = root.rglob("a@*/seed-0/samples.npz")
    arrays = dict(np.load(other))
    np.savez(other, **(arrays | {"observed": ~arrays["observed"]}))
    group = group_of(root)
    sets = sample_sets(group, "mnist")
    with styled():
        both = pictures.with_errors(group, sets, [0], rule=True).caption
        first, second = (pictures.side_by_side(group, one, [0], rule=True).caption for one in sets)
    for caption in (both, first):
        assert "MisGAN at 80% (failed: it broke)" in caption
        assert "MCFlow at 80% (samples.npz is damaged)" in caption
        assert "a at 80% (its stored images differ from those of the other methods)" in caption
    # Who was not run at a rate is told as well.
    assert "PBiGAN [1] at 80% (not run)" in first and "[1]: batch_size" in first
    assert "PRFlow at 90%, a at 90% (not run)" in second and "[1]: batch_size" in second
    assert "MisGAN at 80%, 90%" not in both and "MisGAN at 90%" in both


@pytest.mark.parametrize(
    "change",
    [
        {"imputed": np.zeros((12, 1, 28, 27), np.uint8)},
        {"imputed": np.zeros((12, 1, 28, 28))},
        {"observed": np.zeros((12, 28, 28), bool)},
        {"complete": np.zeros((12, 2, 28, 28), np.uint8)},
        {"index": np.array([{}] * 12, dtype=object)},
    ],
)
def test_arrays_that_are_no_samples_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    root = store_with_images(tmp_path, result("prflow"))
    (path,) = root.rglob("samples.npz")
    np.savez(path, **(dict(np.load(path)) | change))
    assert sample_sets(group_of(root), "mnist") == []


def test_long_settings_are_a_number_that_the_caption_explains(tmp_path: Path) -> None:
    long = {"batch_size": 32, "epochs": 4, "imputer_learning_rate": 0.0006, "learning_rate": 0.0003}
    cell = result("misgan")["cell"]
    documents = [result("misgan", cell=cell | {"settings": long}), result("mcflow"), result("prflow")]
    documents.append(result("misgan", cell=cell | {"settings": {"width": 16}}))
    with styled():
        drawn = plots.against_rate(group_of(store(tmp_path, *documents)), SCORES)
        assert drawn is not None
        drawn.figure.canvas.draw()
    texts = {text.get_text() for text in drawn.figure.findobj(Text) if isinstance(text, Text)}
    assert {"MisGAN [1]", "MisGAN (width=16)", "MCFlow"} <= texts
    assert "[1]: batch_size=32, epochs=4, imputer_learning_rate=0.0006" in drawn.caption


def test_a_legend_of_rates_is_in_their_order(tmp_path: Path) -> None:
    documents = [
        result(method, rate=rate, fit={"history": [{"loss": 1.0}, {"loss": 0.5}]})
        for method, rate in (("misgan", 0.9), ("misgan", 0.6), ("prflow", 0.8), ("prflow", 0.7))
    ]
    with styled():
        drawn = plots.training(group_of(store(tmp_path, *documents)), "mnist")
        assert drawn is not None
        (legend,) = drawn.figure.legends
        assert [text.get_text()[:4] for text in legend.get_texts()] == ["60% ", "70% ", "80% ", "90% "]


def test_losses_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    history = [{"J": 1.0, "K": "x"}, {"J": None}, "odd", {"J": 3}]
    root = store(tmp_path, result("prflow", fit={"history": history}), result("a", fit={"history": 7}))
    found = {one.cell.method: one.history for one in read_results(root)[0]}
    assert found == {"prflow": {"J": [1.0, 3.0]}, "a": {}}
    assert json.dumps(found)
