"""The methods a bundle can be exported from: one file and one line in `METHODS` each."""

from __future__ import annotations

from .grnr import GrnrExport

METHODS = {"grnr": GrnrExport}
"""Method's name in the export config -> the struct that holds its settings and exports it."""

MethodConfig = GrnrExport
"""Union of all of them; the key `method` says which."""
