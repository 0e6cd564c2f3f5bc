"""Which distributions an extra of this project brings: pyproject.toml, then the metadata of what is installed.

What pip would install, without asking an index: every requirement is pinned in constraints.txt, and that is what is
installed where the tests run.
"""

import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_NAME = canonicalize_name(_PROJECT["name"])


def distributions_of(extra: str) -> set[str]:
    """Canonical names of everything that `pip install 'rubric-reward[extra]'` brings beside the project itself."""
    found: set[tuple[str, str]] = set()
    waiting = [(_NAME, ""), (_NAME, extra)]
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in found:
            continue
        found.add((name, wanted))
        for requirement in _requirements(name, wanted):
            needed = canonicalize_name(requirement.name)
            waiting += [(needed, ""), *((needed, more) for more in requirement.extras)]
    return {name for name, _ in found} - {_NAME}


def _requirements(name: str, extra: str) -> list[Requirement]:
    """What a distribution needs for one of its extras; for none, what it always needs."""
    if name == _NAME:
        lines = _PROJECT["optional-dependencies"][extra] if extra else _PROJECT["dependencies"]
    else:
        lines = requires(name) or []
    requirements = [Requirement(line) for line in lines]
    return [found for found in requirements if found.marker is None or found.marker.evaluate({"extra": extra})]


def modules_outside(distributions: set[str]) -> list[str]:
    """Top-level modules that are installed here, but come with none of these distributions nor with the project."""
    wanted = distributions | {_NAME}
    return sorted(
        module
        for module, owners in packages_distributions().items()
        if wanted.isdisjoint(canonicalize_name(owner) for owner in owners)
    )
