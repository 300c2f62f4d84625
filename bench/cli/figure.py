"""`bench figure`: Figures 2 to 5 and the plots, from stored results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.options import GivenPath, results_option
from bench.cli.stored import (
    choose_results,
    comma_separated,
    filter_options,
    grouped,
    known_names,
    stored_below,
    writing_output,
)
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.report.figures.style import Drawn
    from bench.report.groups import Group
    from bench.store.results import Result

KINDS = {
    "errors": "Figures 2 and 3: imputed images over their error maps, in a group for each rate",
    "images": "Figures 4 and 5: complete and observed images, and those that each method imputed",
    "rates": "each metric against the fraction missing, with intervals",
    "cost": "each metric against the time of fitting and imputing",
    "training": "the losses at each epoch",
    "ranks": "critical-difference diagrams over all data sets and rates",
}
FORMATS = ("png", "pdf")


@click.command("figure", epilog="Kinds: " + "; ".join(f"{name} ({what})" for name, what in KINDS.items()))
@click.argument("kinds", nargs=-1, metavar="[KIND]...")
@results_option
@click.option("--output", type=GivenPath(), help="Folder for the files.  [default: RESULTS/figures]")
@filter_options
@click.option("--rates", help="Only these fractions missing, with commas between.")
@click.option("--images", help="Which stored test images to show, counted from 0: 3,14,15.")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    help="How many images to show, evenly spaced.  [default: 6 in `images`, 2 in `errors`]",
)
@click.option(
    "--seed", type=int, help="Show the images of this seed.  [default: the smallest that is stored]"
)
@click.option(
    "--format",
    "formats",
    default=",".join(FORMATS),
    show_default=True,
    help="Which files, with commas between.",
)
def command(
    kinds: tuple[str, ...],
    results: Path,
    output: Path | None,
    preset: str | None,
    datasets: str | None,
    methods: str | None,
    rates: str | None,
    images: str | None,
    count: int | None,
    seed: int | None,
    formats: str,
) -> int:
    """Draw figures from stored results: every KIND, or only those that are named.

    Each figure comes with its caption in a text file.
    """
    known_names("kind of figure", kinds, KINDS)
    wanted_formats = known_names("format", comma_separated(formats), FORMATS)
    if not wanted_formats:
        raise BenchError(f"--format names no format; there is: {', '.join(FORMATS)}")
    positions = _whole_numbers(images)
    root = stored_below(results)
    chosen = _at_rates(choose_results(root, preset, datasets, methods), rates)
    _check_seed(chosen, seed)
    from bench.report.figures.style import save, styled
    from bench.report.groups import folder_names

    groups = grouped(chosen)
    folder = output or results / "figures"
    written = 0
    with styled():
        for group, name in zip(groups, folder_names(groups), strict=True):
            for drawn in _figures(group, kinds or tuple(KINDS), positions, count, seed):
                with writing_output():
                    for path in save(drawn, folder / name, wanted_formats):
                        click.echo(f"wrote {path}")
                written += 1
    if not written:
        pictures = "; errors and images need the samples.npz of each cell" * bool(
            {"errors", "images"} & {*kinds}
        )
        raise BenchError(
            f"the results below {root} have nothing to draw for {', '.join(kinds or KINDS)}{pictures}"
        )
    return 0


def _figures(
    group: Group,
    kinds: Sequence[str],
    images: Sequence[int],
    count: int | None,
    seed: int | None,
) -> Iterator[Drawn]:
    """The figures of one group; those for which it lacks numbers or images are left out."""
    from bench.report.figures import plots, ranks
    from bench.report.layout import dataset_order
    from bench.report.metrics import scores_of

    scores = scores_of(group)
    made: list[Drawn | None] = []
    for dataset in dataset_order(group):
        made += _pictures(group, dataset, kinds, images, count, seed)
        if "training" in kinds:
            made.append(plots.training(group, dataset))
    if "rates" in kinds:
        made.append(plots.against_rate(group, scores))
    if "cost" in kinds:
        made.append(plots.against_cost(group, scores))
    if "ranks" in kinds:
        made += [ranks.critical_differences(group, score) for score in scores]
    yield from (drawn for drawn in made if drawn is not None)


def _pictures(
    group: Group,
    dataset: str,
    kinds: Sequence[str],
    images: Sequence[int],
    count: int | None,
    seed: int | None,
) -> list[Drawn]:
    from bench.report.figures.pictures import side_by_side, with_errors
    from bench.report.samples import chosen_images, sample_sets

    if not {"errors", "images"} & set(kinds):
        return []
    sets = sample_sets(group, dataset, seed)
    made = []
    if "errors" in kinds and sets:
        shown = chosen_images(count or 2, len(sets[0].truth.index), images)
        made.append(with_errors(group, sets, shown, rule=not images))
    if "images" in kinds:
        for one in sets:
            shown = chosen_images(count or 6, len(one.truth.index), images)
            made.append(side_by_side(group, one, shown, rule=not images))
    return made


def _whole_numbers(text: str | None) -> list[int]:
    try:
        return [int(part) for part in comma_separated(text)]
    except ValueError:
        raise BenchError(f"--images {text!r} must be whole numbers with commas between") from None


def _check_seed(results: Sequence[Result], seed: int | None) -> None:
    known = sorted({result.cell.seed for result in results})
    if seed is not None and seed not in known:
        raise BenchError(f"no result with seed {seed}; there is: {', '.join(map(str, known))}")


def _at_rates(results: Sequence[Result], rates: str | None) -> list[Result]:
    try:
        wanted = {float(part) for part in comma_separated(rates)}
    except ValueError:
        raise BenchError(f"--rates {rates!r} must be numbers with commas between") from None
    known = {result.cell.rate for result in results}
    for rate in sorted(wanted - known):
        there = ", ".join(f"{one:g}" for one in sorted(known))
        raise BenchError(f"no result at rate {rate:g}; there is: {there}")
    return [result for result in results if not wanted or result.cell.rate in wanted]
