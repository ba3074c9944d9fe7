"""How tokens are drawn for many requests at once, as it is done on a card."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest
import torch

from babylon_tasks.training.draw_tokens import draw, draw_together

WORDS = 50
PROBABILITIES = (0.5, 0.3, 0.15, 0.05)


@dataclass(frozen=True)
class Wish:
    temperature: float = 1.0
    top_p: float = 1.0


def rows(count: int) -> torch.Tensor:
    """The same distribution for each row: four words, the others impossible."""
    row = torch.zeros(WORDS)
    row[10:14] = torch.tensor(PROBABILITIES)
    return row.log().expand(count, WORDS)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shares(wish: Wish) -> list[float]:
    count = 20_000
    drawn = draw_together(rows(1), [0] * count, [wish] * count, [seeded(0)] * count)
    assert set(drawn.tolist()) <= {10, 11, 12, 13}  # never what has no probability
    return [float((drawn == word).float().mean()) for word in range(10, 14)]


def test_words_are_drawn_as_often_as_they_are_probable() -> None:
    assert shares(Wish()) == pytest.approx(PROBABILITIES, abs=0.015)


def test_a_temperature_sharpens() -> None:
    squared = [p**2 for p in PROBABILITIES]

    assert shares(Wish(temperature=0.5)) == pytest.approx(
        [p / sum(squared) for p in squared], abs=0.015
    )


def test_top_p_leaves_the_fewest_words_that_reach_it() -> None:
    assert shares(Wish(top_p=0.7)) == pytest.approx([0.5 / 0.8, 0.3 / 0.8, 0, 0], abs=0.015)


@pytest.mark.parametrize("wish", [Wish(temperature=0), Wish(temperature=1e-40), Wish(top_p=1e-6)])
def test_the_coldest_draws_take_the_likeliest_word(wish: Wish) -> None:
    assert draw_together(rows(9), range(9), [wish] * 9, [None] * 9).tolist() == [10] * 9


@pytest.mark.parametrize("top_p", [sys.float_info.min, 5e-324, 1e-50, 1e-45, 1e-38])
def test_the_likeliest_word_is_left_however_small_top_p_is(top_p: float) -> None:
    """On the processor and as on a card, with and without a seed."""
    wishes, generators = [Wish(top_p=top_p), Wish()], [seeded(0), None]

    for manners in (wishes, wishes[::-1]):
        for drawn in (
            draw(rows(2), range(2), manners, generators),
            draw_together(rows(2), range(2), manners, generators),
        ):
            assert drawn[manners.index(wishes[0])] == 10


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-45, 9.99e-6, 1e-5, 2.0])
def test_the_coldest_and_the_warmest_draw_what_is_possible(temperature: float) -> None:
    wishes, generators = [Wish(temperature=temperature)] * 2, [seeded(0), None]

    for drawn in (
        draw(rows(2), range(2), wishes, generators),
        draw_together(rows(2), range(2), wishes, generators),
    ):
        assert set(drawn.tolist()) <= ({10} if temperature < 1 else {10, 11, 12, 13})


def test_each_row_is_drawn_as_its_own_request_wishes() -> None:
    wishes = [Wish(temperature=0), Wish(), Wish(top_p=0.2), Wish()]

    both = draw_together(rows(4), range(4), wishes, [None, seeded(3), None, seeded(4)]).tolist()

    assert both[0] == both[2] == 10
    assert both[1] == draw_together(rows(1), [0], [Wish()], [seeded(3)]).item()
    assert both[3] == draw_together(rows(1), [0], [Wish()], [seeded(4)]).item()


def test_a_seed_draws_the_same_words_again() -> None:
    def drawn(seed: int) -> list[int]:
        generator = seeded(seed)
        return [int(draw_together(rows(1), [0], [Wish()], [generator])) for _ in range(20)]

    assert drawn(1) == drawn(1) != drawn(2)


def test_on_the_processor_a_seed_draws_what_it_always_did() -> None:
    """Answers to seeded requests must not change with a release."""
    generator = seeded(5)
    expected = [int(torch.multinomial(rows(1)[0].exp(), 1, generator=seeded(5)))]

    assert draw(rows(1), [0], [Wish()], [generator]).tolist() == expected


def test_without_a_seed_many_answers_are_drawn_from_one_row() -> None:
    torch.manual_seed(0)
    certain = torch.full((1, WORDS), -torch.inf)
    certain[0, 7] = 0.0
    both = torch.cat([rows(1), certain])

    drawn = draw(both, [0, 1] * 5_000, [Wish()] * 10_000, [None] * 10_000)

    assert drawn[1::2].tolist() == [7] * 5_000
    shared = [float((drawn[::2] == word).float().mean()) for word in range(10, 14)]
    assert shared == pytest.approx(PROBABILITIES, abs=0.03)


def test_seeds_beside_answers_without_one_draw_what_they_do_alone() -> None:
    together = draw(rows(2), [0, 1, 0], [Wish()] * 3, [None, seeded(5), None])

    assert together[1] == draw(rows(1), [0], [Wish()], [seeded(5)])
