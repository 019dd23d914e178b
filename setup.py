from __future__ import annotations

import os
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

root = Path(__file__).parent
version: dict[str, str] = {}
exec((root / 'mmbeitv2' / 'version.py').read_text(), version)

# mmengine (`_base_ = 'mmbeitv2::...'`, mmengine.hub) and mim look for these in the folder .mim of an installed package.
MIM_FILES = ('configs', 'tools', 'model-index.yml')
# Scripts of the clone: they make its environment, run its tests and its demo, and write into its pages.
NEED_A_CLONE = (
    'build_docs.sh',
    'env.sh',
    'evidence.py',
    'gpu_report.sh',
    'quickstart.py',
    'quickstart.sh',
    'run_tests.sh',
)

# Extra -> its file in requirements/.
EXTRAS = {name: name for name in ('channels', 'docs', 'export', 'masks', 'quantizers', 'tests', 'tiff')}
EXTRAS['openmmlab'] = 'mminstall'


class BuildWithMim(build_py):
    """Puts configs, tools and the model index into the package's folder .mim; an editable install gets links."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            mim = root / 'mmbeitv2' / '.mim'
            mim.mkdir(exist_ok=True)
            for name in MIM_FILES:
                link = mim / name
                link.unlink(missing_ok=True)
                link.symlink_to(os.path.relpath(root / name, mim))
        else:
            for source, target in self._mim_files().items():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return super().get_outputs(include_bytecode) + [str(target) for target in self._mim_files().values()]

    def _mim_files(self) -> dict[Path, Path]:
        sources = [path for name in MIM_FILES for path in (root / name, *(root / name).rglob('*'))]
        return {
            path: Path(self.build_lib, 'mmbeitv2', '.mim', path.relative_to(root))
            for path in sources
            if path.is_file() and path.suffix != '.pyc' and path.name not in NEED_A_CLONE
        }


def requirements(name: str) -> list[str]:
    return (root / 'requirements' / f'{name}.txt').read_text().split()


setup(
    name='mmbeitv2',
    version=version['__version__'],
    description='BEiT v2 for OpenMMLab: tokenizer, pretraining, classification, segmentation',
    long_description=(root / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='mmbeitv2 contributors',
    license='Apache-2.0',
    license_files=['LICENSE', 'NOTICE'],
    keywords=[
        'BEiT',
        'BEiT v2',
        'VQ-KD',
        'masked image modeling',
        'self-supervised learning',
        'visual tokenizer',
        'vision transformer',
        'OpenMMLab',
    ],
    project_urls={'Paper': 'https://arxiv.org/abs/2208.06366'},
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    python_requires='>=3.10',
    packages=find_packages(include=['mmbeitv2', 'mmbeitv2.*']),
    package_data={'mmbeitv2': ['py.typed']},
    cmdclass={'build_py': BuildWithMim},
    # The mm packages are an extra on purpose: the forks that it names would overwrite upstream's, which work too.
    install_requires=requirements('runtime'),
    extras_require={name: requirements(file) for name, file in EXTRAS.items()},
)
