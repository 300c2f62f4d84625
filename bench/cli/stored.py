"""What the commands share that read stored results: which results are wanted, and writing files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import RESULTS, names_between_commas
from bench.errors import BenchError
from bench.util.files import open_regular
from bench.util.folders import folders_below
from bench.util.text import unknown

if TYPE_CHECKING:
    from bench.report.groups import Group
    from bench.store.results import Result


MEASURED = RESULTS.with_name("measured")
"""The measured results that come with a checkout."""


def stored_below(root: Path) -> Path:
    """The folder to read: `root`, or the measured results if `root` is the default and has no results yet."""
    if root != RESULTS or not MEASURED.is_dir():
        return root
    if any("result.json" in names for _, names in folders_below(root)):
        return root
    click.echo(f"{root} has no results yet; these are the measured ones in {MEASURED}", err=True)
    return MEASURED


def write_output(path: Path, text: str) -> None:
    """Write an output of a command, in UTF-8.

    Raises:
        BenchError: it cannot be written.
    """
    # Encoded first, because opening the file empties it.
    content = text.encode(errors="replace")
    with writing_output():
        path.parent.mkdir(parents=True, exist_ok=True)
        # The folder may be somebody else's. A pipe in it would block for ever.
        with open_regular(path, "wb") as file:
            file.write(content)


@contextlib.contextmanager
def writing_output() -> Iterator[None]:
    """Inside, a file that cannot be written raises a BenchError that says what to do."""
    try:
        yield
    except OSError as error:
        raise BenchError(
            f"cannot write {error.filename} ({error.strerror}); choose another --output"
        ) from error


def comma_separated(text: str | None) -> list[str]:
    """The parts between commas, without the empty ones."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def say_rekeyed(results: Iterable[Result]) -> None:
    """Say how many of some results count although they were stored under an older key, if there are any."""
    count = sum(result.rekeyed for result in results)
    if count:
        were, them, they = ("result was", "it", "it counts")
        if count > 1:
            were, them, they = ("results were", "them", "they count")
        same = f"the code that made {them} gives the same numbers, so {they}"
        click.echo(f"{count} {were} stored under an older key; {same}.")


def known_names(kind: str, names: Sequence[str], known: Collection[str]) -> Sequence[str]:
    """The names, if all of them are known; `kind` is what a message calls one.

    Raises:
        BenchError: one is unknown; the message offers the nearest known one.
    """
    for name in names:
        if name not in known:
            raise BenchError(unknown(kind, name, known))
    return names


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --preset, --dataset and --methods, which select stored results."""
    for option in (
        click.option("--methods", help="Only these methods, with commas between."),
        click.option("--dataset", "datasets", help="Only these data sets, with commas between."),
        click.option("--preset", help="Only these presets, with commas between."),
    ):
        command = option(command)
    return command


def choose_results(root: Path, preset: str | None, datasets: str | None, methods: str | None) -> list[Result]:
    """The results below a folder that are wanted. Each file that is left out gets a warning.

    Raises:
        BenchError: there are no results, or none of a preset, data set or method that is named.
    """
    from bench.datasets import called
    from bench.plugins.registry import BASELINES
    from bench.store.results import read_results

    found, warnings = read_results(root)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    chosen: Sequence[Result] = found
    known = {result.cell.dataset for result in found}
    chosen = _choose(chosen, "preset", comma_separated(preset), root)
    named = names_between_commas(datasets or "", lambda name: called(name) in known)
    chosen = _choose(chosen, "dataset", [called(name) for name in named], root)
    baselines = {result.cell.method for result in chosen if result.display.baseline}
    named = comma_separated(methods)
    if BASELINES in named and baselines:
        named = [*(name for name in named if name != BASELINES), *baselines]
    chosen = _choose(chosen, "method", named, root)
    if not chosen:
        raise BenchError(
            f"no results below {root}; make some with: bench run --methods prflow --dataset mnist"
        )
    return list(chosen)


def _choose(results: Sequence[Result], kind: str, wanted: list[str], root: Path) -> Sequence[Result]:
    """The results whose preset, data set or method is one of the names; without names, all results."""
    known = sorted({getattr(result.cell, kind) for result in results})
    for name in wanted:
        if results and name not in known:
            spelled = kind.replace("dataset", "data set")
            raise BenchError(f"no result of {spelled} {name!r} below {root}; there is: {', '.join(known)}")
    return [result for result in results if not wanted or getattr(result.cell, kind) in wanted]


def grouped(results: Sequence[Result]) -> list[Group]:
    """The groups that can be compared. A result that is left out as a repetition gets a warning."""
    from bench.report.groups import group_results

    groups, warnings = group_results(results)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    return groups
