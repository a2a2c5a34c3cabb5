"""The methods a bundle can be exported from: one file and one line in `METHODS` each."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from runtime.config import load_yaml

from .grnr import GrnrExport
from .inp_former import InpFormerExport
from .inp_former_authors import InpFormerAuthors
from .patchcore import PatchcoreExport

METHODS = {"grnr": GrnrExport, "patchcore": PatchcoreExport, "inp_former": InpFormerExport}
"""Method's name in the export config -> the struct that holds its settings, fits and exports it."""

AUTHORS = {"inp_former": InpFormerAuthors}
"""Methods whose authors' checkpoints are read -> the struct around one."""

EXPERIMENTAL = {
    "inp_former": "9 points of image AUROC below nearest neighbour on a weave, see benchmarks/accuracy.md",
}
"""Methods that are not recommended yet, and why; fit and export say so."""

MethodConfig: TypeAlias = GrnrExport | PatchcoreExport | InpFormerExport
"""Union of all of them; the key `method` says which."""


def load_method(path: Path) -> MethodConfig:
    """Reads an export config.

    Raises:
        ConfigError: see `load_yaml`.
    """
    return load_yaml(path, MethodConfig)  # type: ignore[arg-type]
