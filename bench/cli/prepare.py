"""`bench prepare`: data and judges downloaded ahead of time, for machines without a network."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from bench.cli.options import GivenPath
from bench.datasets import BUILT_IN, Dataset, check_name, load
from bench.datasets.locations import data_folder
from bench.errors import BenchError, Unavailable
from bench.util.cache import cache_dir
from bench.util.files import expanded
from bench.util.text import clean


@click.command("prepare")
@click.option(
    "--dataset", "names", default=",".join(BUILT_IN), show_default=True, help="Names, with commas between."
)
@click.option("--data-dir", type=GivenPath(), help="Folder to look in and to download to.")
def command(names: str, data_dir: Path | None) -> int:
    """Download and decode data sets, and get their judges ready. Exit status 1: some of it failed."""
    if data_dir is not None:
        data_dir = expanded(data_dir)
        data_dir.mkdir(parents=True, exist_ok=True)
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        check_name(name)
    ready = [_prepare(name, data_dir) for name in wanted]
    return 0 if all(ready) else 1


def _prepare(name: str, data_dir: Path | None) -> bool:
    shown = clean(name)
    try:
        module = importlib.import_module(f"bench.datasets.{name}") if name in BUILT_IN else None
        if module is not None and module.locate(data_dir) is None:
            module.download(data_folder(data_dir) or cache_dir())
        dataset = load(name, data_dir)
    except BenchError as error:
        click.echo(f"error: {clean(str(error))}", err=True)
        return False
    kind = "official" if dataset.official else "not official"
    click.echo(
        f"{shown}: {len(dataset.train):,} train, {len(dataset.test):,} test ({kind}), {dataset.fingerprint}"
    )
    if name not in BUILT_IN:
        return _tell_own_judge(shown, dataset)
    try:
        from bench.judges.finding import judge_at_hand, judge_for
        from bench.judges.known import TRAINED, has_first_choice

        if name in TRAINED and judge_at_hand(name) is None:
            from bench.judges.training import train_judge

            train_judge(name, data_dir)
        if has_first_choice(name):
            _fetch_facenet(shown, data_dir)
        judge = judge_for(name, data_dir)
    except (BenchError, Unavailable) as error:
        click.echo(f"error: no judge for {shown}: {clean(str(error))}", err=True)
        return False
    click.echo(f"{shown}: its judge is ready: {judge.name}")
    return True


def _tell_own_judge(shown: str, dataset: Dataset) -> bool:
    """Say whether a user's own data set has its judge, or could have one. False: its file is damaged."""
    from bench.judges.finding import judge_at_hand

    try:
        judge = judge_at_hand(dataset.name, fingerprint=dataset.fingerprint)
    except BenchError as error:
        click.echo(f"error: no judge for {shown}: {clean(str(error))}", err=True)
        return False
    if judge is not None:
        click.echo(f"{shown}: its judge is ready: {judge.name}")
    elif dataset.train_labels is not None and dataset.test_labels is not None:
        click.echo(
            f"{shown}: there is no judge for its images yet; bench train-judge trains one, for FID and SCC"
        )
    else:
        click.echo(f"{shown}: there is no judge for its images, so a run measures RMSE only")
    return True


def _fetch_facenet(shown: str, data_dir: Path | None) -> None:
    """Fetch FaceNet if it is not here. If it cannot be had, another judge stands in for it."""
    from bench.judges.finding import facenet_here, fetch_facenet

    if facenet_here(data_dir) is None:
        try:
            fetch_facenet()
        except Unavailable as error:
            click.echo(f"{shown}: without FaceNet, the paper's judge: {clean(str(error))}")
