"""What a trainer asks about, and how it becomes the parts of one multipart request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from reward_client.images import Image, is_batch, to_png
from shared_schemas.messages import in_one_line
from shared_schemas.reward import Group


@dataclass(frozen=True, slots=True)
class CandidateGroup:
    """One prompt and the candidates made for it."""

    prompt: str
    """The prompt, or the edit instruction."""
    candidates: Sequence[Image]
    """The pictures to compare: a sequence, or one array or tensor [K, 3, H, W]."""
    source: Image | None = None
    """For edits: the picture before."""
    id: str | None = None
    """Returned with the result; default `g0`, `g1` … by position."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedGroups:
    """Groups as they go over the wire."""

    groups: tuple[Group, ...]
    images: Mapping[str, bytes]
    """Image id → PNG; each picture once, however many groups show it."""

    @property
    def num_candidates(self) -> int:
        """Candidates in the largest group."""
        return max(len(group.candidates) for group in self.groups)


@dataclass(slots=True)
class _ImageParts:
    """Names pictures and encodes each object once."""

    pngs: dict[str, bytes] = field(default_factory=dict)
    _ids: dict[int, str] = field(default_factory=dict)
    _alive: list[Image] = field(default_factory=list)
    """Keeps every named object alive, so that no later one can take over its address."""

    def id_of(self, image: Image) -> str:
        if id(image) not in self._ids:
            name = f"i{len(self._ids)}"
            self.pngs[name] = to_png(image)
            self._ids[id(image)] = name
            self._alive.append(image)
        return self._ids[id(image)]


def encode_groups(groups: Sequence[CandidateGroup]) -> EncodedGroups:
    """Encode and name every picture.

    Raises `ValueError` or `TypeError` naming the group for something that cannot be sent (see `images.to_png`).
    """
    if not groups:
        raise ValueError("there is nothing to judge: `groups` is empty")
    parts = _ImageParts()
    encoded = tuple(_encode_group(group, index=index, parts=parts) for index, group in enumerate(groups))
    return EncodedGroups(groups=encoded, images=parts.pngs)


def _encode_group(group: CandidateGroup, *, index: int, parts: _ImageParts) -> Group:
    name = f"g{index}" if group.id is None else group.id
    candidates = list(group.candidates) if is_batch(group.candidates) else group.candidates
    try:
        return Group(
            id=name,
            prompt=group.prompt,
            candidates=tuple(parts.id_of(image) for image in candidates),
            source=None if group.source is None else parts.id_of(group.source),
        )
    except ValidationError as error:
        raise ValueError(f"group {name}: {in_one_line(error)}") from error
    except ValueError as error:
        raise ValueError(f"group {name}: {error}") from error
    except TypeError as error:
        raise TypeError(f"group {name}: {error}") from error
