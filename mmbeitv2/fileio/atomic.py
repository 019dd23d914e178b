"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend


class AtomicBackend(LocalBackend):
    """mmengine's local files, written beside and renamed: a kill leaves the former file or the new one, both whole."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f'{path.name}.tmp')
        with partial.open('wb') as stream:
            stream.write(obj)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        self.put(obj.encode(encoding), filepath)


register_backend('mmbeitv2.AtomicBackend', AtomicBackend, force=True)
