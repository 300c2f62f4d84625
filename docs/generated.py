"""Writes the parts of the documents that are made from the code: `python docs/generated.py`, or `make docs`.

A page holds such a part between two comments, each on a line of its own. What is between them is replaced:

    <!-- generated: NAME -->
    <!-- end -->

NAME is one of

    commands            every command with its options
    method prflow       a method's settings and citation, here PRFlow's
    baselines           the same for each of our own methods that says it is a baseline

The parts are committed, so that the pages can be read without building anything. A test fails where one of
them is stale.
"""

from __future__ import annotations

import html
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from bench.cli import COMMANDS, cli
from bench.cli.methods import kind, layers_of, spelled
from bench.plugins.registry import Description, describe, describe_all, find_methods

PART = re.compile(r"^<!-- generated: ([\w ]+) -->$.*?^<!-- end -->$", re.MULTILINE | re.DOTALL)


def renewed(markdown: str) -> str:
    """A page with its generated parts made anew. Raises BenchError where a method cannot be described."""
    return PART.sub(
        lambda part: f"<!-- generated: {part[1]} -->\n\n{generated(part[1])}\n\n<!-- end -->", markdown
    )


def generated(wanted: str) -> str:
    """The part of that name. Raises BenchError where a method cannot be described."""
    if wanted == "commands":
        return "\n\n".join(command_section(name) for name in COMMANDS)
    methods = find_methods()
    if wanted == "baselines":
        # Methods that are installed beside ours have documents of their own.
        ours = [one for _, one in sorted(methods.items()) if one.reference.startswith("bench.methods.")]
        answers = describe_all(ours).values()
        found = [one for one in answers if isinstance(one, Description) and one.baseline]
        return "\n\n".join(f"## {one.display_name}\n\n{one.summary}\n\n{settings(one)}" for one in found)
    return settings(describe(methods[wanted.removeprefix("method ")]))


def command_section(name: str) -> str:
    """One command: its usage, help and options."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    # Without a width, the page would depend on the terminal that it is written in.
    context = click.Context(command, info_name=f"bench {name}", terminal_width=100)
    usage = command.get_usage(context).removeprefix("Usage: ")
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    told = [" ".join(paragraph.split()) for paragraph in paragraphs]
    sections = [f"## bench {name}", f"```text\n{usage}\n```", *told]
    rows = [option_row(option, context) for option in command.params if isinstance(option, click.Option)]
    if rows:
        sections.append("\n".join(["| option | what it does |", "|---|---|", *rows]))
    return "\n\n".join(sections)


def option_row(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    assert record is not None
    # A bar would end the table's cell, even in code.
    names, text = (html.escape(part, quote=False).replace("|", "&#124;") for part in record)
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


def main() -> None:
    for page in sorted(Path(__file__).parent.rglob("*.md")):
        old = page.read_text(encoding="utf-8")
        new = renewed(old)
        if new != old:
            page.write_text(new, encoding="utf-8")
            sys.stdout.write(f"wrote {page}\n")


if __name__ == "__main__":
    main()
