"""Our models and pipelines, their peers, and what a step of each is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import mmpretrain
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope, init_default_scope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from torch import Tensor

from mmbeitv2 import CONFIGS
from mmbeitv2.apis import read_config
from mmbeitv2.datasets import find_images
from mmbeitv2.datasets.seeding import SampleIndex
from mmbeitv2.errors import InputError

# Does the work, and returns of how many images.
Step: TypeAlias = Callable[[], int]

PRETRAINING = 'beitv2_vit-b_1600e.py'
_CONFIG_OF = {
    'pretrain': PRETRAINING,
    'tokenizer': 'tokenizer/vqkd_vit-b_3x768x12-clip_100e.py',
    'segment': 'segmentation/beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py',
    'data': PRETRAINING,
}
_PEER_CONFIG = 'beitv2/beitv2_beit-base-p16_8xb256-amp-coslr-1600e_in1k.py'
# Width and side of images at tiny size, which only shows that everything runs.
_WIDTH, _SIDE = 48, 128
_TINY = {768: _WIDTH, 512: _SIDE, 341: 85, (512, 512): (_SIDE, _SIDE), (341, 341): (85, 85)}


def our_config(args: argparse.Namespace) -> Config:
    """The config of ``--config``, or the usual one of what is measured, with ``--cfg-options``."""
    return _in_its_scope(read_config(str(args.config or Path(CONFIGS, _CONFIG_OF[args.what])), args.cfg_options))


def peer_config() -> Config:
    """mmpretrain's own config of BEiT v2, which is installed with mmpretrain."""
    path = Path(mmpretrain.__path__[0], '.mim', 'configs', _PEER_CONFIG)
    if not path.is_file():
        raise InputError(f'mmpretrain has no config {str(path)!r}. Install mmpretrain with pip, not from a checkout.')
    return _in_its_scope(Config.fromfile(str(path)))


def _in_its_scope(cfg: Config) -> Config:
    DefaultScope._instance_dict.clear()  # ours and the peer live in one process
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    return cfg


def pretraining_step(is_ours: bool, args: argparse.Namespace) -> Step:
    """A step of pretraining; the tokenizer has random weights."""
    images, mask = _random_images(args.batch_size), torch.zeros(args.batch_size, 196, dtype=torch.bool)
    for row in mask:
        row[torch.randperm(196)[:75]] = True
    data: dict[str, Any]
    if is_ours:
        cfg = our_config(args)
        cfg.model.tokenizer.init_cfg = None
        jitter = torch.tensor([[0, 1.1], [1, 0.9], [2, 1.2]])  # brightness, contrast and saturation
        data = {'inputs': images, 'mask': mask, 'jitter': jitter.expand(args.batch_size, -1, -1)}
    else:
        cfg = peer_config()
        cfg.model.target_generator.update(init_cfg=None, quantize_kmeans_init=False)
        cfg.model.data_preprocessor = cfg.data_preprocessor
        samples = [DataSample().set_mask(row.view(14, 14)) for row in mask]
        data = {'inputs': [images, images], 'data_samples': samples}
    return _training_step(_build(cfg, args), data, args, is_ours, clip_grad=dict(max_norm=3.0))


def tokenizer_step(is_ours: bool, args: argparse.Namespace) -> Step:
    """A step of VQ-KD; the teacher is CLIP's ViT-B/16 with random weights."""
    cfg = our_config(args)
    cfg.model.teacher = dict(
        type='mmbeitv2.TimmTeacher', model='vit_base_patch16_clip_quickgelu_224', pretrained=False, img_size=224
    )
    cfg.model.quantizer.kmeans_init = False  # which would want as many patches as codes in the first batch
    if not is_ours:
        sizes = dict(code_dim=cfg.model.quantizer.code_dim, codebook_size=cfg.model.quantizer.num_codes)
        settings = dict(quantizer='VectorQuantize', decay=0.99, use_cosine_sim=True, commitment_weight=1.0)
        cfg.model.quantizer = dict(type='mmbeitv2.VectorQuantizePytorch', **sizes, **settings)
    return _training_step(_build(cfg, args), {'inputs': _random_images(args.batch_size)}, args, is_ours)


def segmentation_step(is_ours: bool, args: argparse.Namespace) -> Step:
    """A step of training UperNet."""
    side = _SIDE if args.tiny else 512
    samples = [
        SegDataSample(
            metainfo=dict(img_shape=(side, side)),
            gt_sem_seg=PixelData(data=torch.randint(0, 150, (1, side, side))),
        )
        for _ in range(args.batch_size)
    ]
    images = list(torch.randint(0, 256, (args.batch_size, 3, side, side), dtype=torch.uint8))
    data = {'inputs': images, 'data_samples': samples}
    return _training_step(build_segmentor(is_ours, args), data, args, is_ours)


def segmentation_of_an_image(mode: str, is_ours: bool, args: argparse.Namespace) -> Step:
    """Segments an image: ``'slide'``, 683 pixels wide and 512 high, by two crops; ``'whole'``, 512x512, which is the
    only size that mmseg's BEiT takes."""
    side = _SIDE if args.tiny else 512
    shape = (side, 4 * side // 3 if mode == 'slide' else side)
    model = build_segmentor(is_ours, args, mode).to(args.device).eval()
    if is_ours and args.compile:
        model.backbone.compile()
    sample = SegDataSample(metainfo=dict(img_shape=shape, ori_shape=shape))
    data = {'inputs': [torch.randint(0, 256, (3, *shape), dtype=torch.uint8)], 'data_samples': [sample]}

    @torch.no_grad()
    def step() -> int:
        with torch.autocast(args.device, getattr(torch, args.amp, None), enabled=args.amp != 'none'):
            model.test_step(data)
        if args.device == 'cuda':
            torch.cuda.synchronize()
        return 1

    return step


def build_segmentor(is_ours: bool, args: argparse.Namespace, mode: str = 'slide') -> BaseModel:
    """UperNet; the peer has the backbone and the head of mmseg."""
    cfg = our_config(args)
    cfg.model.backbone.init_cfg = None
    if mode == 'whole':
        cfg.model.test_cfg = dict(mode='whole')
    if not is_ours:
        cfg.model.backbone = dict(
            type='BEiT', img_size=(512, 512), out_indices=(3, 5, 7, 11), drop_path_rate=0.1, init_values=0.1
        )
        cfg.model.decode_head.type = 'UPerHead'
    for part in (cfg.model.neck, cfg.model.decode_head, cfg.model.auxiliary_head):
        part.norm_cfg.type = 'BN'  # one process
    return _build(cfg, args)


def loading_step(is_ours: bool, args: argparse.Namespace) -> Step:
    """Loads images of ``--images`` by the pretraining pipeline on one core."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    found = find_images(args.images)
    files = [str(args.images / path) for path in found[:: -(-len(found) // args.batch_size)]]  # evenly spread
    cfg = our_config(args) if is_ours else peer_config()
    init_default_scope('mmpretrain')
    pipeline = Compose([TRANSFORMS.build(step) for step in cfg.train_dataloader.dataset.pipeline])

    def step() -> int:
        for index, file in enumerate(files):
            pipeline({'img_path': file, 'sample_idx': SampleIndex(index, seed=0, epoch=0)})
        return len(files)

    return step


# What is measured -> how a step is made.
STEPS: dict[str, Callable[[bool, argparse.Namespace], Step]] = {
    'pretrain': pretraining_step,
    'tokenizer': tokenizer_step,
    'segment': segmentation_step,
    'data': loading_step,
    'slide': partial(segmentation_of_an_image, 'slide'),
    'whole': partial(segmentation_of_an_image, 'whole'),
}


def _build(cfg: Config, args: argparse.Namespace) -> BaseModel:
    """The model of a config with its initial weights; of small width if ``args.tiny``."""
    if args.tiny:
        cfg.model = _shrink(cfg.model)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def _shrink(settings: Any) -> Any:
    """The settings of a model of small width, ours or a peer's."""
    if isinstance(settings, list):
        return [_shrink(value) for value in settings]
    if not isinstance(settings, dict):
        return _TINY.get(settings, settings)
    tiny = {key: _shrink(value) for key, value in settings.items()}
    kind = str(tiny.get('type'))
    for key in ('arch', 'backbone_arch'):
        if tiny.get(key) == 'base':
            tiny[key] = dict(embed_dims=_WIDTH, num_heads=12, depth=12)
            if not kind.startswith('mmbeitv2.'):
                tiny[key] |= dict(num_layers=12, feedforward_channels=4 * _WIDTH)
    if kind == 'BEiT' and 'init_values' in tiny:  # mmseg's
        tiny['embed_dims'] = _WIDTH
    if kind == 'mmbeitv2.TimmTeacher':
        tiny['model'] = 'vit_tiny_patch16_224'
    return tiny


def _training_step(
    model: BaseModel, data: dict, args: argparse.Namespace, is_ours: bool, clip_grad: dict | None = None
) -> Step:
    """Preprocessing, forward, backward, clipping and AdamW (ours is fused, as in our configs)."""
    model = model.to(args.device).train()
    if is_ours and args.compile:
        model.compile()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=is_ours or None)
    wrapper = OptimWrapper(optimizer, clip_grad=clip_grad)
    if args.amp != 'none':
        # As tools/train.py --amp; mmengine scales the loss in bfloat16 too, which makes the host wait for the device.
        is_scaled = not (is_ours and args.amp == 'bfloat16')
        loss_scale = 'dynamic' if is_scaled else dict(enabled=False)
        wrapper = AmpOptimWrapper(loss_scale, args.amp, optimizer=optimizer, clip_grad=clip_grad)

    def step() -> int:
        model.train_step(data, wrapper)['loss'].item()  # which waits for the GPU
        return args.batch_size

    return step


def _random_images(count: int) -> Tensor:
    """(count, 3, 224, 224) uint8."""
    return torch.randint(0, 256, (count, 3, 224, 224), dtype=torch.uint8)


def write_jpegs(folder: Path, count: int) -> None:
    """Writes 500x375 pictures as rich as photographs: noise of all sizes. They have 95 KiB, those of ImageNet 110."""
    rng = np.random.default_rng(0)
    for number in range(count):
        image = np.zeros((375, 500, 3))
        for octave in range(8):
            noise = rng.normal(size=(3 << octave, 4 << octave, 3))
            image += np.asarray(cv2.resize(noise, (500, 375), interpolation=cv2.INTER_CUBIC), float) / 1.4**octave
        pixels = (127.5 + 55 * image).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f'{number}.jpg'), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
