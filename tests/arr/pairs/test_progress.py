"""The bar over a dataset."""

import io

from rich.console import Console

from arr.pairs.progress import ReadingProgress


def test_the_bar_shows_rows_their_rate_and_how_far_it_is() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with ReadingProgress(num_bytes=1000, limit=None, console=console) as bar:
        for number in range(1, 4):
            bar.tick(number * 250)
            bar.row()
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "75%" in text
    assert "3 rows" in text
    assert "rows/s" in text


def test_with_a_limit_rows_are_what_counts() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with ReadingProgress(num_bytes=1000, limit=4, console=console) as bar:
        bar.tick(10)
        bar.row()
    assert isinstance(console.file, io.StringIO)
    assert "25%" in console.file.getvalue()


def test_nothing_is_drawn_where_nobody_watches() -> None:
    console = Console(file=io.StringIO())
    with ReadingProgress(num_bytes=1000, limit=None, console=console) as bar:
        bar.row()
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == ""
