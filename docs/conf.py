"""Sphinx builds the site from this folder: bash tools/build_docs.sh"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docutils.nodes import Element, reference
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault('HF_HUB_OFFLINE', '1')
warnings.filterwarnings('ignore', message='Fail to import', module='mmcv')  # mmcv-lite, on being imported

from mmbeitv2.version import __version__  # noqa: E402

project = 'mmbeitv2'
author = 'mmbeitv2 contributors'
project_copyright = author
release = version = __version__
extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx_copybutton',
]
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = f'mmbeitv2 {__version__}'
html_static_path = ['_static']
html_css_files = ['site.css']
html_copy_source = False
html_show_sourcelink = False
pygments_style = 'friendly'
pygments_dark_style = 'monokai'

# Links to headings: `page.md#some-heading`, as on GitHub.
myst_heading_anchors = 4
# ```console and ```text have a prompt and output, which are not for copying.
copybutton_selector = 'div.highlight-bash pre, div.highlight-python pre'

autodoc_default_options = {'members': True, 'member-order': 'bysource'}
autodoc_inherit_docstrings = False
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented_params'
autodoc_class_signature = 'mixed'
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Options begin with two hyphens.
smartquotes = False
nitpicky = True
# Objects of other packages have no page here. Some are named without their module, as they are imported for type
# checkers only; for the same reason, aliases of Literal[...] are not resolved (the docstrings list the choices).
_FOREIGN = (
    'PIL|argparse|collections|cv2|datasets|enum|logging|markupsafe|matplotlib|mmcv|mmengine|mmpretrain|mmseg|np|numpy|'
    'open_clip|os|pathlib|pickle|scipy|sklearn|timm|torch|torchvision|transformers|types|typing'
)
_BARE = (
    'AbstractContextManager|Config|Dataset|Hook|MMLogger|Module|OptimWrapper|Path|Runner|Tensor|DistributedDataParallel'
)
_ALIASES = 'ChannelType|FinalNorm|Fit|InitRule|OutType|Precision|RelPosBias|ResizeMethod|Standardize'
# Of this package, but not exported: they have docstrings, and no page.
_INTERNAL = (
    'Grid|MaskPrediction|MaskedBatch|PublishedModel|decode_channels|fit_image|jitter_colors|locate|'
    'read_file|resize|resize_relative_position_table|source_grid|to_rgb'
)
nitpick_ignore_regex = [
    (r'py:.*', rf'({_FOREIGN})\..*'),
    (r'py:class', rf'(nn\.)?({_BARE})|{_ALIASES}|optional'),
    (r'py:.*', rf'([\w.]+\.)?({_INTERNAL})'),
]
suppress_warnings = ['ref.python']  # a class that two rooms export has two addresses


def find_by_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element) -> reference | None:
    """The page of an object that a docstring names without its module, by another one that has it, or as configs do:
    ``mmbeitv2.VQKD``."""
    if node.get('refdomain') != 'py':
        return None
    domain = env.get_domain('py')
    name = node['reftarget'].removeprefix('mmbeitv2.')
    for ending in (f'.{name}', f'.{name.rpartition(".")[2]}'):
        found = sorted(known for known in domain.objects if f'.{known}'.endswith(ending))
        if found:
            break
    else:
        return None
    return domain.resolve_xref(env, node['refdoc'], app.builder, 'obj', found[0], node, content)


def setup(app: Sphinx) -> None:
    app.connect('missing-reference', find_by_name)
