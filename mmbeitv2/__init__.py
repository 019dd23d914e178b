"""BEiT v2 for OpenMMLab (Peng et al. 2022, arXiv 2208.06366)."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

from packaging.version import Version

from .version import __version__

__all__ = ['__version__']

# import name -> (distributions that provide it, lowest tested version, first untested version)
_OPENMMLAB = {
    'mmengine': (('onedl-mmengine', 'mmengine'), '0.10.0', '1.0.0'),
    'mmcv': (('onedl-mmcv', 'mmcv'), '2.0.0', '2.4.0'),
    'mmpretrain': (('onedl-mmpretrain', 'mmpretrain'), '1.2.0', '1.4.0'),
    'mmseg': (('onedl-mmsegmentation', 'mmsegmentation'), '1.2.0', '1.5.0'),
}
_REMEDY = 'install it with: pip install -r requirements/mminstall.txt -c requirements/constraints.txt'


def _check_openmmlab() -> None:
    """Raises an ImportError of one sentence when an OpenMMLab package is missing or was never tested."""
    for module, (distributions, lowest, limit) in _OPENMMLAB.items():
        if find_spec(module) is None:
            raise ImportError(f'mmbeitv2 needs {module}, which is not installed; {_REMEDY}')
        for distribution in distributions:
            try:
                found = metadata.version(distribution)
            except metadata.PackageNotFoundError:
                continue
            if not Version(lowest) <= Version(found) < Version(limit):
                raise ImportError(
                    f'mmbeitv2 needs {module} >= {lowest}, < {limit}, but {distribution} {found} is installed; '
                    f'{_REMEDY}'
                )
            break


_check_openmmlab()
