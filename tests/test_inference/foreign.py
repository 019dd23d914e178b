"""Tokenizers whose codes do not come from a table of vectors, as another project would write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT
from torch import Tensor, nn

from mmbeitv2.inference.visual_tokenizer import VisualTokenizer
from mmbeitv2.registry import MODELS
from tests.conftest import tiny_tokenizer


@MODELS.register_module(force=True)
class SignQuantizer(nn.Module):
    """Lookup-free (Yu et al. 2023, MAGVIT-v2): the signs of D numbers are the bits of a code."""

    def __init__(self, code_dim: int = 4) -> None:
        super().__init__()
        self.code_dim, self.num_codes = code_dim, 2**code_dim

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        bits = (z > 0).flatten(2)  # (B, D, h·w)
        codes = sum(bits[:, i].long() << i for i in range(self.code_dim))
        quantized = z + (torch.where(z > 0, 1.0, -1.0) - z).detach()
        return quantized, z.new_zeros(()), codes

    def lookup(self, codes: Tensor) -> Tensor:
        return ((codes[..., None] >> torch.arange(self.code_dim)) & 1).float() * 2 - 1


def sign_tokenizer() -> dict:
    """Config of a VQKD with that quantizer."""
    settings = tiny_tokenizer(quantizer=dict(type='mmbeitv2.SignQuantizer'))
    return settings | dict(decoder=settings['decoder'] | dict(in_channels=4))


def dalle() -> dict:
    return dict(type='mmbeitv2.DALLETokenizer', img_size=32, encoder=dict(n_hid=8))


def with_weights(settings: dict) -> Any:
    """A built model with weights that tell images apart."""
    model = ROOT.build(settings).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    return model


def foreign_tokenizer(folder: Path, kind: str) -> VisualTokenizer:
    """The tokenizer of a kind, from a checkpoint in a folder."""
    settings = dict(dalle=dalle, signs=sign_tokenizer)[kind]()
    torch.save(dict(state_dict=with_weights(settings).state_dict()), folder / 'foreign.pth')
    return VisualTokenizer(Config(dict(model=settings)), folder / 'foreign.pth', device='cpu')
