"""Parts of the documents that are made from the code while they are built.

A page asks for one with a comment on a line of its own:

    <!-- commands -->           every command with its options
    <!-- method NAME -->        a method's settings and citation
    <!-- baselines -->          the same for every method that says it is a baseline
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import click

from bench.cli import COMMANDS, cli
from bench.cli.methods import kind, layers_of, spelled
from bench.plugins.registry import Description, describe, describe_all, find_methods

MARK = re.compile(r"^<!-- (commands|baselines|method \w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs for each page."""
    return MARK.sub(lambda found: generated(found[1]), markdown)


def generated(wanted: str) -> str:
    """What stands in the place of a comment. Raises BenchError where a method cannot be described."""
    if wanted == "commands":
        return "\n\n".join(command_section(name) for name in COMMANDS)
    methods = find_methods()
    if wanted == "baselines":
        answers = describe_all(methods[name] for name in sorted(methods)).values()
        found = [one for one in answers if isinstance(one, Description) and one.baseline]
        return "\n\n".join(f"## {one.display_name}\n\n{one.summary}\n\n{settings(one)}" for one in found)
    return settings(describe(methods[wanted.removeprefix("method ")]))


def command_section(name: str) -> str:
    """One command: its usage, help and options."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    context = click.Context(command, info_name=f"bench {name}", parent=None)
    usage = command.get_usage(context).removeprefix("Usage: ")
    lines = [f"## bench {name}", f"```text\n{usage}\n```", re.sub(r"\n(?!\n)", " ", command.help or "")]
    rows = [option_row(option, context) for option in command.params if isinstance(option, click.Option)]
    if rows:
        lines.append("\n".join(["| option | what it does |", "|---|---|", *rows]))
    return "\n\n".join(lines)


def option_row(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record is not None
    # A bar would end the table's cell, even in code.
    names, text = (html.escape(part).replace("|", "&#124;") for part in record)
    return f"| <code>{names}</code> | {text} |"


def settings(method: Description) -> str:
    """A method's name on the command line, settings, what they mean, and citation."""
    parts = [f"On the command line: `{method.name}`. Implemented with: {', '.join(method.requires)}."]
    if method.settings:
        parts.append(
            "\n".join(["| setting | type | default | elsewhere |", "|---|---|---|---|", *rows(method)])
        )
    if method.details:
        parts.append(f"```text\n{method.details}\n```")
    if method.citation:
        parts.append(f"```bibtex\n{method.citation}\n```")
    return "\n\n".join(parts)


def rows(method: Description) -> Iterator[str]:
    for name, setting in method.settings.items():
        changed = "; ".join(layers_of(method, name))
        yield f"| `{name}` | {kind(setting)} | {spelled(setting.default)} | {changed} |"
