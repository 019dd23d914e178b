"""Shows what a pretrained model predicts: image, mask, true codes, predicted codes.

    python tools/visualize_masks.py CONFIG CHECKPOINT DIR --out masks.png

CONFIG and CHECKPOINT are those of the pretraining; its tokenizer comes from the config, or from --tokenizer. With a
pixel decoder there are two more columns: the picture that it makes of the true codes, and of the true codes with the
predicted ones at the masked patches.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.registry import MODELS, TRANSFORMS, init_default_scope
from torch import Tensor

from mmbeitv2.apis import read_config
from mmbeitv2.apis.visual_tokenizer import fit_image, to_tensor
from mmbeitv2.checkpoints import load_exactly
from mmbeitv2.datasets import BlockMaskGenerator, find_images
from mmbeitv2.errors import InputError, one_sentence_errors
from mmbeitv2.models import BEiTv2, PixelDecoder
from mmbeitv2.visualization.pictures import code_colors, draw_masks


def build_model(cfg: Config, checkpoint: str, tokenizer: str | None) -> BEiTv2:
    """The pretrained model in eval mode, with its tokenizer's weights."""
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    if cfg.model.type != 'mmbeitv2.BEiTv2':
        raise InputError(f'config {cfg.filename!r} is of a {cfg.model.type}: give that of a pretraining')
    if tokenizer is not None:
        cfg.model.tokenizer.init_cfg = dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=tokenizer)
    model = MODELS.build(cfg.model)
    load_exactly(model, checkpoint)
    return model.eval()


def build_mask_generator(cfg: Config) -> BlockMaskGenerator:
    """The masks of the config's training pipeline."""
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'mmbeitv2.BlockMaskGenerator':
            return TRANSFORMS.build(step)
    raise InputError(f'config {cfg.filename!r} has no mmbeitv2.BlockMaskGenerator in its training pipeline')


def build_pixel_decoder(config: str, checkpoint: str, tokenizer_cfg: dict) -> PixelDecoder:
    """The pixel decoder, on the tokenizer of the pretraining."""
    cfg = read_config(config)
    if cfg.model.type != 'mmbeitv2.PixelDecoder':
        raise InputError(f'config {config!r} is of a {cfg.model.type}: give that of a pixel decoder')
    cfg.model.tokenizer = tokenizer_cfg
    decoder = MODELS.build(cfg.model)
    load_exactly(decoder, checkpoint)
    return decoder.eval()


def to_pictures(images: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [-1, 1] -> (B, H, W, 3) uint8."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='of the pretraining')
    parser.add_argument('checkpoint', help='weights of the pretraining')
    parser.add_argument('images', type=Path, metavar='DIR', help='folder of images, of any depth')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE.png', help='picture to write')
    parser.add_argument('--tokenizer', metavar='CHECKPOINT', help="weights of the tokenizer (default: the config's)")
    parser.add_argument(
        '--pixel-decoder', nargs=2, metavar=('CONFIG', 'CHECKPOINT'), help='for the pictures from codes'
    )
    parser.add_argument('--num-images', type=int, default=6, help='taken at random (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of images and masks (default: %(default)s)')
    parser.add_argument('--fit', choices=['crop', 'stretch'], default='crop', help='how an image becomes a square')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='override: KEY=VALUE ...')
    args = parser.parse_args()
    with one_sentence_errors('visualize_masks.py'), torch.inference_mode():
        cfg = read_config(args.config)
        cfg.merge_from_dict(args.cfg_options)
        model = build_model(cfg, args.checkpoint, args.tokenizer)
        generator = build_mask_generator(cfg)
        np.random.seed(args.seed)
        paths = np.random.permutation(find_images(args.images))[: args.num_images]
        (h, w), side = model.backbone.grid_size, model.backbone.patch_size
        images = torch.stack(
            [fit_image(to_tensor(args.images / path), (h * side, w * side), args.fit) for path in paths]
        )
        mask = torch.from_numpy(np.stack([generator.draw().ravel() for _ in paths]))
        batch = model.data_preprocessor({'inputs': images.flip(1), 'mask': mask})['inputs']  # RGB -> BGR, as loaded
        results = model(batch, mode='predict')
        codes = torch.stack([result.codes for result in results]).unflatten(1, (h, w))
        predicted = torch.stack([result.predicted_codes for result in results]).unflatten(1, (h, w))
        masks = mask.unflatten(1, (h, w))
        rebuilt = {}
        if args.pixel_decoder is not None:
            decoder = build_pixel_decoder(*args.pixel_decoder, cfg.model.tokenizer)
            rebuilt['from codes'] = to_pictures(decoder.decode(codes))
            rebuilt['from predicted codes'] = to_pictures(decoder.decode(torch.where(masks, predicted, codes)))
        figure = draw_masks(
            images.permute(0, 2, 3, 1).numpy(),
            masks.numpy(),
            codes.numpy(),
            predicted.numpy(),
            code_colors(model.tokenizer.module.quantize.embedding.weight.numpy()),
            rebuilt,
        )
        args.out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(args.out, dpi=120)
        sys.stdout.write(f'{len(paths)} images: {args.out}\n')


if __name__ == '__main__':
    main()
