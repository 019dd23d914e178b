from __future__ import annotations

import os
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

os.environ.setdefault('HF_HUB_OFFLINE', '1')
ROOT = Path(__file__).resolve().parents[1]

# A ViT of two blocks on 4x4 patches of 8x8 pixels.
TINY_ARCH = dict(embed_dims=32, depth=2, num_heads=2)
NUM_CODES = 16


def tiny_vit(**changes: object) -> dict:
    return dict(type='mmbeitv2.BEiTv2ViT', arch=TINY_ARCH, img_size=32, patch_size=8) | changes


def tiny_tokenizer(**changes: object) -> dict:
    vit = dict(
        out_type='featmap', final_norm='fc_norm', use_abs_pos_emb=True, rel_pos_bias='none', layer_scale_init_value=0.0
    )
    return (
        dict(
            type='mmbeitv2.VQKD',
            encoder=tiny_vit(**vit),
            decoder=tiny_vit(**vit, img_size=4, patch_size=1, in_channels=8),
            quantizer=dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=NUM_CODES, code_dim=8),
            target_dims=24,
        )
        | changes
    )


def tiny_pretraining(**changes: object) -> dict:
    return (
        dict(
            type='mmbeitv2.BEiTv2',
            backbone=tiny_vit(out_indices=(0, 1), out_type='raw', final_norm='deferred', use_mask_token=True),
            neck=dict(type='mmbeitv2.CLSAggregationNeck', embed_dims=32, num_heads=2, start_layer=1, backbone_depth=2),
            head=dict(type='mmbeitv2.BEiTv2MIMHead', embed_dims=32, num_codes=NUM_CODES),
            tokenizer=tiny_tokenizer(),
        )
        | changes
    )


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Two classes of eight 40x48 JPEGs, nested two deep."""
    rng = np.random.default_rng(0)
    for name in ('cat', 'dog'):
        folder = tmp_path / 'images' / name / 'nested'
        folder.mkdir(parents=True)
        for i in range(8):
            cv2.imwrite(str(folder / f'{i}.jpg'), rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
    return tmp_path / 'images'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``gpu`` run where there is a GPU."""
    if not torch.cuda.is_available():
        items[:] = [item for item in items if item.get_closest_marker('gpu') is None]
