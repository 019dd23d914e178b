"""Tables and plots of a study, written into docs/evidence.md between two marks."""

from pathlib import Path


def write_page(study, docs: Path, preset: str) -> None: ...
