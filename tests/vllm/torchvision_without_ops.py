"""Let the stock torchvision wheel import beside a CPU build of torch, whose ABI its compiled operators do not fit.

Runs in vLLM's own environment, where a `.pth` file imports it before anything else. Owns the two operator schemas that
torchvision looks up while it is imported; refuses to implement them: vLLM only uses torchvision's Python side.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_LOOKS_THEM_UP = "torchvision._meta_registrations"

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_declared: list[Any] = []
"""Keeps the library alive: torch forgets the operators of one that is collected."""


class _DeclareOperators(MetaPathFinder):
    """Finds no module; declares the operators right before the module that looks them up is searched for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == _LOOKS_THEM_UP and not _declared:
            import torch

            library = torch.library.Library("torchvision", "DEF")
            for schema in _SCHEMAS:
                library.define(schema)
            _declared.append(library)
        return None


sys.meta_path.insert(0, _DeclareOperators())
