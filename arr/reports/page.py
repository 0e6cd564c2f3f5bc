"""Pages: templates rendered with everything escaped, and written so that no half of one is ever seen."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from arr.reports import numbers
from arr.reports.figures import called

FOLDER = Path(__file__).parent
"""Where `page.html.j2` is, which every page extends."""


def environment(*folders: Path) -> Environment:
    """Templates of `folders`, then those of this package; the functions of `numbers` are filters, and `called`."""
    made = Environment(
        loader=FileSystemLoader([*folders, FOLDER]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shares = (numbers.share, numbers.share_with_interval, numbers.interval)
    signed = (numbers.points, numbers.signed_percent, numbers.signed_interval, numbers.weight)
    others = (numbers.decimal, numbers.nats, numbers.p_value, numbers.count, numbers.duration)
    for function in (*shares, *signed, *others):
        made.filters[function.__name__] = function
    made.filters["called"] = called
    return made


def render(template: str, **values: Any) -> str:
    """A page of this package."""
    return environment().get_template(template).render(**values)


def write_report(folder: Path, *, html: str, json: str) -> Path:
    """Write `report.html` and `report.json` into `folder`; returns the page's path. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_whole(folder / "report.json", json)
    return _write_whole(folder / "report.html", html)


def _write_whole(path: Path, text: str) -> Path:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    return draft.replace(path)
