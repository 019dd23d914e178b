from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).parent
version: dict[str, str] = {}
exec((root / 'mmbeitv2' / 'version.py').read_text(), version)

setup(
    name='mmbeitv2',
    version=version['__version__'],
    description='BEiT v2 for OpenMMLab: tokenizer, pretraining, classification, segmentation',
    long_description=(root / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    python_requires='>=3.10',
    packages=find_packages(include=['mmbeitv2', 'mmbeitv2.*']),
    package_data={'mmbeitv2': ['py.typed', 'visualization/*.html']},
    # The mm packages are left out on purpose: see requirements/mminstall.txt.
    install_requires=(root / 'requirements' / 'runtime.txt').read_text().split(),
)
