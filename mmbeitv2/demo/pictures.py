"""Draws what the quickstart learned: codebook, masks, segmentations and loss curves."""

from __future__ import annotations

import argparse
from pathlib import Path

import mmcv
import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmseg.apis import inference_model, init_model

from mmbeitv2.apis import VisualTokenizer
from mmbeitv2.errors import one_sentence_errors
from mmbeitv2.visualization.codebook import save_codebook_pictures
from mmbeitv2.visualization.curves import read_curve
from mmbeitv2.visualization.masks import masks_picture
from mmbeitv2.visualization.pictures import choose_images, draw_curves, write_picture
from mmbeitv2.visualization.segmentation import draw_segmentations

CURVES = {
    'tokenizer': {'reconstruction loss': 'loss_reconstruction', 'commitment loss': 'loss_commitment'},
    'pretrain': {'last layer': 'loss_mim', 'patch aggregation': 'loss_mim_cls'},
    'finetune': {'loss': 'loss'},
    'segment': {'loss': 'loss'},
}


def stage_config(work_dir: Path, stage: str) -> Config:
    """The whole config that a stage ran with, as its runner wrote it down."""
    cfg = Config.fromfile(str(work_dir / stage / f'{stage}.py'))
    init_default_scope(cfg.default_scope)
    return cfg


def last_checkpoint(work_dir: Path, stage: str) -> str:
    folder = work_dir / stage
    return str(folder / Path((folder / 'last_checkpoint').read_text().strip()).name)


def draw_tokens(work_dir: Path, out: Path) -> None:
    """Codebook and masks, on the validation images."""
    pretrain = stage_config(work_dir, 'pretrain')
    dataset = pretrain.test_dataloader.dataset
    root = Path(dataset.data_root) / dataset.data_prefix
    tokenizer = VisualTokenizer(
        stage_config(work_dir, 'tokenizer'), last_checkpoint(work_dir, 'tokenizer'), fit='stretch'
    )
    save_codebook_pictures(tokenizer, choose_images(root, 512), out, 'quickstart')
    masks = masks_picture(pretrain, last_checkpoint(work_dir, 'pretrain'), choose_images(root, 6), fit='stretch')
    write_picture(masks, out / 'masks.png', dpi=120)


def draw_segments(work_dir: Path, out: Path, count: int = 6) -> None:
    """Segmentations of validation images beside the truth."""
    cfg = stage_config(work_dir, 'segment')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    infos = [dataset.get_data_info(i) for i in np.linspace(0, len(dataset) - 1, count).astype(int)]
    images = [mmcv.imread(info['img_path'], channel_order='rgb') for info in infos]
    # 0 is unlabelled and the classes start from 1: as uint8, 0 - 1 is 255.
    labels = {'truth': [mmcv.imread(info['seg_map_path'], flag='grayscale') - 1 for info in infos]}
    for title, stage in (('pretrained', 'segment'), ('from scratch', 'segment_scratch')):
        stage_cfg = stage_config(work_dir, stage)
        stage_cfg.model.backbone.init_cfg = None
        model = init_model(stage_cfg, last_checkpoint(work_dir, stage), device='cpu')
        labels[title] = [inference_model(model, info['img_path']).pred_sem_seg.data[0].numpy() for info in infos]
    classes, palette = dataset.metainfo['classes'], np.array(dataset.metainfo['palette'], dtype=np.uint8)
    figure = draw_segmentations(images, labels, classes, palette)
    write_picture(figure, out / 'segmentations.png', dpi=120)


def draw_losses(work_dir: Path, out: Path) -> None:
    panels: dict[str, dict] = {}
    for stage, names in CURVES.items():
        panels[stage] = {name: read_curve(work_dir / stage, key) for name, key in names.items()}
        if (work_dir / f'{stage}_scratch').is_dir():
            panels[stage] = {
                'pretrained': panels[stage].pop('loss'),
                'from scratch': read_curve(work_dir / f'{stage}_scratch', 'loss'),
            }
    write_picture(draw_curves(panels), out / 'curves.png', dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', type=Path, help='of the quickstart')
    parser.add_argument('--out', type=Path, required=True, help='folder for the pictures')
    args = parser.parse_args()
    with one_sentence_errors('mmbeitv2.demo.pictures'):
        args.out.mkdir(parents=True, exist_ok=True)
        for draw in (draw_tokens, draw_segments, draw_losses):
            draw(args.work_dir, args.out)


if __name__ == '__main__':
    main()
