"""The public functions and classes."""

from __future__ import annotations

from mmbeitv2.checkpoints.conversion import convert_checkpoint
from mmbeitv2.checkpoints.model_hub import register_published_models
from mmbeitv2.checkpoints.zoo import describe_model, list_models
from mmbeitv2.evaluation.probing import probe_features
from mmbeitv2.inference.config import read_config
from mmbeitv2.inference.exporting import export_model
from mmbeitv2.inference.loading import load_model
from mmbeitv2.inference.predicting import predict
from mmbeitv2.inference.visual_tokenizer import VisualTokenizer

__all__ = [
    'VisualTokenizer',
    'convert_checkpoint',
    'describe_model',
    'export_model',
    'list_models',
    'load_model',
    'predict',
    'probe_features',
    'read_config',
    'register_published_models',
]
