"""Nouns and their verbs, as in `windows retry`; an old spelling is refused with the new one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from babylon_tasks.cli.help_json import OPTION, set_aside, show_shape

# The file of each command. It is imported when the command is asked for: all of them cost a second.
_FILES = {
    "migrate": "data",
    "verify-data": "data",
    "windows": "windows",
    "score": "work",
    "train": "work",
    "warm-start": "warm_start",
    "models": "models",
    "screen": "screen",
    "status": "status",
    "report": "report",
    "cost": "cost",
    "why": "why",
    "show": "show",
    "tripwires": "tripwires",
    "compare": "compare",
    "circuit": "circuit",
    "prune": "prune",
    "replay": "replay",
    "doctor": "doctor",
    "run": "run",
    "demo": "demo",
    "up": "up",
}

_WHOLE = 1000  # characters of a sentence
_PYDANTICS = "Value error, "  # typer 0.29 writes what pydantic says
_MOVED = {
    "retry": "windows retry",
    "backfill": "windows backfill",
    "promote": "models promote",
    "rollback": "models rollback",
}


class Listing(TyperGroup):
    """Lists its commands with their whole first sentence, where click would cut it."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command; the shape of its JSON is no part of its help."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            set_aside(command)
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Resolve the command that ``args`` begin with, unless only its JSON is asked about."""
        found = super().resolve_command(ctx, args)
        if OPTION in args[1:] and not ctx.resilient_parsing and show_shape(found[1]):
            ctx.exit()
        return found

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one entry a command, as many lines as it takes."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [
            (name, command.get_short_help_str(_WHOLE))
            for name, command in commands
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Root(Listing):
    """The commands; refuses old commands that are now verbs of a noun."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands, in the order of the help."""
        del ctx  # the same everywhere
        return list(_FILES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command in its file."""
        if cmd_name in _FILES and cmd_name not in self.commands:
            found = typer.Typer(rich_markup_mode=None)
            import_module(f"babylon_tasks.cli.{_FILES[cmd_name]}").register(found)
            self.commands.update(typer.main.get_group(found).commands)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Resolve the command that ``args`` begin with."""
        if args[0] in _MOVED and not ctx.resilient_parsing:  # set while completing a line
            ctx.fail(f"`babylon-tasks {args[0]}` is now `babylon-tasks {_MOVED[args[0]]}`")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a value that it refuses is refused in typer's words alone."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix(_PYDANTICS)
            raise


class Noun(Listing):
    """Verbs of one noun, whose name alone was once a list."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse options of the list where the verb is missing."""
        options_only = bool(args) and args[0].startswith("-")
        if options_only and args[0] not in ctx.help_option_names and not ctx.resilient_parsing:
            ctx.fail(f"`babylon-tasks {self.name}` is now `babylon-tasks {self.name} list`")
        return super().parse_args(ctx, args)
