"""The implementations that ours are compared with: the usual quantizer and attention, and mmpretrain's BEiT v2."""

from __future__ import annotations

from pathlib import Path

import mmpretrain
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.layers import Attention, Context
from mmbeitv2.tokenizers import NormEMAVectorQuantizer
from mmbeitv2.tokenizers.quantizer import l2norm

PEER_CONFIG = 'beitv2/beitv2_beit-base-p16_8xb256-amp-coslr-1600e_in1k.py'


class OneHotQuantizer(NormEMAVectorQuantizer):
    """The usual way: distances under autograd, the (tokens, K) one-hot matrix, and its product with the features."""

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        height, width = z.shape[-2:]
        with torch.autocast(z.device.type, enabled=False):
            z = l2norm(z.float().flatten(2).transpose(1, 2))  # (B, N, D)
            flat, weight = z.flatten(0, 1), self.embedding.weight
            distances = flat.square().sum(1, keepdim=True) + weight.square().sum(1) - 2 * flat @ weight.T
            codes = distances.argmin(dim=1)
            one_hot = F.one_hot(codes, self.num_codes).to(flat.dtype)
            quantized = weight[codes].view_as(z)
            if self.training:
                counts, sums = one_hot.sum(0), one_hot.T @ flat.detach()
                self.cluster_size.lerp_(counts, 1 - self.decay)
                means = torch.where(counts[:, None] > 0, l2norm(sums), weight)
                weight.copy_(l2norm(torch.lerp(means, weight, self.decay)))
            loss = self.beta * F.mse_loss(z, quantized)
            quantized = z + (quantized - z).detach()
        return quantized.transpose(1, 2).unflatten(2, (height, width)), loss, codes.view(len(z), -1)


class WrittenOutAttention(Attention):
    """Attention by its formula on every device."""

    def forward(self, x: Tensor, context: Context = None, queries: Tensor | None = None) -> Tensor:
        assert queries is None  # which only pretraining gives
        _, _, v = self.project(x)
        return self.proj((self.probabilities(x, context) @ v).transpose(1, 2).flatten(2))


def write_attention_out(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, Attention):
            module.__class__ = WrittenOutAttention


def load_config(path: Path) -> Config:
    cfg = Config.fromfile(str(path))
    DefaultScope._instance_dict.clear()  # peers live in one process
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    return cfg


def peer_config() -> Path:
    """mmpretrain's own config of BEiT v2, which is installed with mmpretrain."""
    path = Path(mmpretrain.__path__[0]) / '.mim/configs' / PEER_CONFIG
    if not path.is_file():
        raise InputError(f'mmpretrain has no config {str(path)!r}. Install mmpretrain with pip, not from a checkout.')
    return path


def peer_samples(mask: Tensor) -> list:
    from mmpretrain.structures import DataSample

    return [DataSample().set_mask(row.view(14, 14)) for row in mask]
