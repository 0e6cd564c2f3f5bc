"""All formats, and what to say to somebody who named the wrong one."""

from collections.abc import Iterable

from arr.pairs.editreward import EDITREWARD
from arr.pairs.hpdv2 import HPDV2
from arr.pairs.hpdv3 import HPDV3
from arr.pairs.imagereward import IMAGEREWARD
from arr.pairs.layout import Format
from arr.pairs.mmrb2 import MMRB2
from arr.pairs.pickapic import PICKAPIC
from arr.pairs.plain import PLAIN

FORMATS = {
    each.name: each for each in (HPDV3, HPDV2, PICKAPIC, IMAGEREWARD, MMRB2, EDITREWARD, PLAIN)
}  # the plain one last: its aliases fit many records
_MOST_KEYS = 12
_MOST_SPELLINGS = 2


def probable_format(keys: frozenset[str]) -> Format | None:
    """The first format that records with these keys can be of."""
    return next((each for each in FORMATS.values() if each.fits(keys)), None)


def mismatch(wanted: Format, keys: frozenset[str], *, file: str) -> str:
    """One line: what the file looks like, and which format to name instead."""
    found = probable_format(keys)
    if not keys:
        return f'{file} holds no records: no JSON array, no {{"pairs": […]}}, no line that is an object'
    looks = f"{file} is not {wanted.name}: its records have the keys {_listed(keys)}"
    if found is None:
        needed = " or ".join(_listed(each) for each in wanted.tell_tale[:_MOST_SPELLINGS])
        return f"{looks}; {wanted.name} needs {needed} (all formats: arr pairs formats)"
    return f"{looks}; that looks like {found.name}: --format {found.name}"


def _listed(keys: Iterable[str]) -> str:
    names = sorted(keys)
    return ", ".join(names[:_MOST_KEYS]) + (f" and {len(names) - _MOST_KEYS} more" if len(names) > _MOST_KEYS else "")
