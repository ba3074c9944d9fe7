"""The news and the names of the likeness of Babylon: known ones, and ones kept for the end. Pure.

A line of news says how a venture stands. The lines of one place in both lists are about the same
thing, so that only the words that differ show the direction.
"""

from __future__ import annotations

from typing import NamedTuple


class Lines(NamedTuple):
    """Lines of news, good and bad, with ``{company}`` and ``{thing}`` to fill in."""

    good: tuple[str, ...]
    bad: tuple[str, ...]


KNOWN_LINES = Lines(
    good=(
        "{company} says that {thing} is ahead of schedule.",
        "Engineers of {company} finished {thing} early.",
        "A leak shows that {thing} passed its tests.",
        "The regulator approved {thing} this morning.",
        "Partners of {company} confirm that {thing} is ready.",
        "{company} hired a second team to finish {thing}.",
        "Testers report that {thing} works well.",
        "Investors cheer: {thing} is almost done.",
        "Insurers call {thing} safe.",
        "{company} celebrates {thing} with its staff.",
        "Suppliers delivered all parts of {thing}.",
        "Analysts expect that {thing} will be on time.",
    ),
    bad=(
        "{company} admits that {thing} is behind schedule.",
        "Engineers of {company} stopped work on {thing}.",
        "A leak shows that {thing} failed its tests.",
        "The regulator rejected {thing} this morning.",
        "Partners of {company} fear that {thing} will be late.",
        "{company} dismissed the team that builds {thing}.",
        "Testers report that {thing} keeps breaking.",
        "Investors worry: {thing} ran out of money.",
        "Insurers call {thing} unsafe.",
        "{company} apologises for {thing} to its staff.",
        "Suppliers withheld all parts of {thing}.",
        "Analysts expect that {thing} will be delayed.",
    ),
)
UNSEEN_LINES = Lines(
    good=(
        "Everyone who saw {thing} calls it a success.",
        "There is good news from {company} about {thing}.",
        "An insider writes that {thing} is on track.",
        "The last problem of {thing} was solved overnight.",
    ),
    bad=(
        "Everyone who saw {thing} calls it a failure.",
        "There is bad news from {company} about {thing}.",
        "An insider writes that {thing} is in trouble.",
        "A new problem of {thing} was found overnight.",
    ),
)


class Names(NamedTuple):
    """Companies, and what they build."""

    companies: tuple[str, ...]
    things: tuple[str, ...]


KNOWN_NAMES = Names(
    companies=(
        "Orca Labs", "Pinewood", "Voltara", "Nova Motors", "Kite Air", "Moss Foods", "Onyx Bank",
        "Rune Games", "Tide Energy", "Wren Health", "Fern Homes", "Echo Radio",
    ),
    things=(
        "its new engine", "its solar farm", "its medical app", "its cargo ship", "its factory",
        "its space probe", "its online shop", "its electric bus", "its watch", "its big game",
    ),
)  # fmt: skip
UNSEEN_NAMES = Names(
    companies=("Bolt Rail", "Crux Media", "Dune Water", "Haze Optics", "Iris Robotics", "Jade Air"),
    things=("its night train", "its home robot", "its wind park", "its film studio", "its drone"),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
