from __future__ import annotations

import subprocess
import sys

# Each scope in a process that has not seen this package.
SCRIPT = """
import os, sys
import mmpretrain.models, mmseg.models
assert 'mmbeitv2' not in sys.modules
child = os.fork()
scope = 'mmpretrain' if child else 'mmseg'
from mmengine.registry import MODELS, HOOKS, TRANSFORMS, DATASETS, METRICS, OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import WEIGHT_INITIALIZERS, init_default_scope
init_default_scope(scope)
import importlib
models = importlib.import_module(scope + '.registry').MODELS
vit = dict(type='mmbeitv2.BEiTv2ViT', arch=dict(embed_dims=32, depth=1, num_heads=2), img_size=32)
assert MODELS.get('mmbeitv2.OpenCLIPTeacher') is not None
assert 'open_clip' not in sys.modules, 'only building a teacher needs open_clip, whose import takes 0.8 s'
assert type(models.build(vit)).__module__.startswith('mmbeitv2.')
assert type(MODELS.build(vit)).__module__.startswith('mmbeitv2.')
for registry, name in [(TRANSFORMS, 'BlockMaskGenerator'), (DATASETS, 'ImageFolder'), (METRICS, 'CodebookMetric'),
                       (OPTIM_WRAPPER_CONSTRUCTORS, 'LayerDecayOptimWrapperConstructor'),
                       (WEIGHT_INITIALIZERS, 'PretrainedBEiTv2')]:
    assert registry.get('mmbeitv2.' + name) is not None, name
if child:
    import mmbeitv2.pretraining
    from mmpretrain.registry import BATCH_AUGMENTS
    mix = BATCH_AUGMENTS.build(dict(type='Mixup', alpha=0.8, _scope_='mmbeitv2'))  # as in an inherited config
    assert type(mix).__module__.startswith('mmpretrain.')
    assert os.wait()[1] == 0
"""


def test_types_resolve_from_other_scopes_without_custom_imports() -> None:
    result = subprocess.run([sys.executable, '-c', SCRIPT], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert 'Failed to search registry' not in result.stdout + result.stderr
    assert 'is not installed' not in result.stdout + result.stderr


def test_import_with_an_untested_version_says_what_to_install() -> None:
    change = (
        'from importlib import metadata; version = metadata.version\n'
        "metadata.version = lambda name: '0.5.0' if 'mmengine' in name else version(name)\n"
    )
    result = subprocess.run([sys.executable, '-c', change + 'import mmbeitv2'], capture_output=True, text=True)
    assert result.returncode != 0
    last = result.stderr.strip().splitlines()[-1]
    assert 'mmengine 0.5.0 is installed' in last
    assert 'pip install onedl-mmengine' in last
