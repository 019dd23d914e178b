"""The public functions and classes. A name is only imported when it is used, so that ``--help`` does not wait for
torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmbeitv2.checkpoints.conversion import convert_checkpoint as convert_checkpoint
    from mmbeitv2.checkpoints.model_hub import register_published_models as register_published_models
    from mmbeitv2.checkpoints.zoo import describe_model as describe_model
    from mmbeitv2.checkpoints.zoo import list_models as list_models
    from mmbeitv2.evaluation.probing import probe_features as probe_features
    from mmbeitv2.inference.config import read_config as read_config
    from mmbeitv2.inference.exporting import export_model as export_model
    from mmbeitv2.inference.loading import load_model as load_model
    from mmbeitv2.inference.predicting import predict as predict
    from mmbeitv2.inference.visual_tokenizer import VisualTokenizer as VisualTokenizer

_HOMES = {
    'VisualTokenizer': 'inference.visual_tokenizer',
    'convert_checkpoint': 'checkpoints.conversion',
    'describe_model': 'checkpoints.zoo',
    'export_model': 'inference.exporting',
    'list_models': 'checkpoints.zoo',
    'load_model': 'inference.loading',
    'predict': 'inference.predicting',
    'probe_features': 'evaluation.probing',
    'read_config': 'inference.config',
    'register_published_models': 'checkpoints.model_hub',
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'mmbeitv2.{_HOMES[name]}'), name)
