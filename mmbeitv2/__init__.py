"""BEiT v2 for OpenMMLab (Peng et al. 2022, arXiv 2208.06366)."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from packaging.version import Version

from mmbeitv2.version import __version__

__all__ = ['CONFIGS', 'FILES', '__version__', 'require_openmmlab']

_package = Path(__file__).resolve().parent
# The folder of configs, tools and model-index.yml: inside an installed package, in a clone around it.
FILES = str(_package / '.mim' if (_package / '.mim').is_dir() else _package.parent)
# For a config elsewhere: _base_ = __import__('mmbeitv2').CONFIGS + '/beitv2_vit-b_1600e.py'
CONFIGS = str(Path(FILES, 'configs'))

# import name -> (distributions that provide it, lowest tested version, first untested version)
_OPENMMLAB = {
    'mmengine': (('onedl-mmengine', 'mmengine'), '0.10.0', '1.0.0'),
    'mmcv': (('onedl-mmcv', 'mmcv'), '2.0.0', '2.4.0'),
    'mmpretrain': (('onedl-mmpretrain', 'mmpretrain'), '1.2.0', '1.4.0'),
    'mmseg': (('onedl-mmsegmentation', 'mmsegmentation'), '1.2.0', '1.5.0'),
}
_FORKS = 'onedl-mmengine onedl-mmcv onedl-mmpretrain onedl-mmsegmentation'
_REMEDY = f'Install it with: pip install {_FORKS}'


def require_openmmlab(module: str) -> None:
    """Checks that an OpenMMLab package is installed, in a version that this package was tested with.

    Raises:
        ImportError: one sentence with the command that installs it.
    """
    distributions, lowest, limit = _OPENMMLAB[module]
    if find_spec(module) is None:
        raise ImportError(f'mmbeitv2 needs {module}, which is not installed. {_REMEDY}')
    for distribution in distributions:
        try:
            found = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
        if not Version(lowest) <= Version(found) < Version(limit):
            raise ImportError(
                f'mmbeitv2 needs {module} >= {lowest}, < {limit}, but {distribution} {found} is installed. {_REMEDY}'
            )
        break


for _module in ('mmengine', 'mmcv', 'mmpretrain'):  # mmseg is asked for where a config wants it
    require_openmmlab(_module)
