"""Draws what the quickstart learned: codebook, masks, segmentations, all of it for three scenes, and loss curves."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import mmcv
import numpy as np
from matplotlib.patches import Patch
from mmbeitv2_tools.errors import one_sentence_errors
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmseg.apis import inference_model, init_model

from mmbeitv2.apis import VisualTokenizer
from mmbeitv2.engine.resuming import last_checkpoint
from mmbeitv2.visualization.codebook import save_codebook_pictures
from mmbeitv2.visualization.masks import draw_masks, masked_columns, predict_masked
from mmbeitv2.visualization.pictures import choose_images, draw_grid, new_figure, paint_labels, write_picture

# Panel -> name of a curve -> stage and the number in its log.
CURVES = {
    'tokenizer': {
        'reconstruction loss': ('tokenizer', 'loss_reconstruction'),
        'commitment loss': ('tokenizer', 'loss_commitment'),
    },
    'pretrain': {'last layer': ('pretrain', 'loss_mim'), 'patch aggregation': ('pretrain', 'loss_mim_cls')},
    'finetune': {'pretrained': ('finetune', 'loss'), 'from scratch': ('finetune_scratch', 'loss')},
    'segment': {'pretrained': ('segment', 'loss'), 'from scratch': ('segment_scratch', 'loss')},
}


class Scenes(NamedTuple):
    """Validation images of the segmentation, evenly spread over the set."""

    paths: list[str]
    images: list[np.ndarray]  # (H, W, 3) uint8 RGB
    truth: list[np.ndarray]  # (H, W) uint8; 255 is no class
    classes: list[str]
    palette: np.ndarray  # (classes, 3) uint8


def read_stage(work_dir: Path, stage: str) -> tuple[Config, str]:
    """The whole config that a stage ran with, as its runner wrote it down, and its last checkpoint."""
    cfg = Config.fromfile(str(work_dir / stage / f'{stage}.py'))
    init_default_scope(cfg.default_scope)
    return cfg, str(last_checkpoint(work_dir / stage))


def read_scenes(work_dir: Path, count: int) -> Scenes:
    cfg, _ = read_stage(work_dir, 'segment')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    infos = [dataset.get_data_info(i) for i in np.linspace(0, len(dataset) - 1, count).astype(int)]
    return Scenes(
        paths=[info['img_path'] for info in infos],
        images=[mmcv.imread(info['img_path'], channel_order='rgb') for info in infos],
        # 0 is unlabeled and the classes start from 1: as uint8, 0 - 1 is 255.
        truth=[mmcv.imread(info['seg_map_path'], flag='grayscale') - 1 for info in infos],
        classes=list(dataset.metainfo['classes']),
        palette=np.array(dataset.metainfo['palette'], dtype=np.uint8),
    )


def segment(work_dir: Path, stage: str, paths: list[str]) -> list[np.ndarray]:
    """Predicted classes (H, W) of each image."""
    cfg, checkpoint = read_stage(work_dir, stage)
    cfg.model.backbone.init_cfg = None
    model = init_model(cfg, checkpoint, device='cpu')
    return [inference_model(model, path).pred_sem_seg.data[0].numpy() for path in paths]


def draw_tokens(work_dir: Path, out: Path) -> None:
    """Codebook and masks, on the validation images."""
    cfg, checkpoint = read_stage(work_dir, 'pretrain')
    dataset = cfg.test_dataloader.dataset
    root = Path(dataset.data_root) / dataset.data_prefix
    tokenizer = VisualTokenizer(*read_stage(work_dir, 'tokenizer'), fit='stretch')
    save_codebook_pictures(tokenizer, choose_images(root, 512), out, 'quickstart')
    seen = predict_masked(cfg, checkpoint, choose_images(root, 6), fit='stretch')
    write_picture(draw_masks(seen), out / 'masks.png', dpi=120)


def draw_segments(work_dir: Path, out: Path) -> None:
    """Segmentations of validation images beside the truth."""
    scenes = read_scenes(work_dir, count=6)
    labels = {'truth': scenes.truth}
    for title, stage in (('pretrained', 'segment'), ('from scratch', 'segment_scratch')):
        labels[title] = segment(work_dir, stage, scenes.paths)
    painted = {
        title: [paint_labels(*pair, scenes.palette) for pair in zip(scenes.images, maps, strict=True)]
        for title, maps in labels.items()
    }
    figure, _ = draw_grid({'image': scenes.images, **painted}, width=3.2)
    colors = zip(scenes.classes, scenes.palette / 255, strict=True)
    legend = [Patch(facecolor=color, label=name) for name, color in colors]
    figure.legend(handles=legend, loc='outside lower center', ncols=6, fontsize=7, frameon=False)
    write_picture(figure, out / 'segmentations.png', dpi=120)


def draw_overview(work_dir: Path, out: Path) -> None:
    """What each stage makes of some validation scenes: codes, masked image, predicted codes, segmentation, truth."""
    scenes = read_scenes(work_dir, count=3)
    columns = masked_columns(predict_masked(*read_stage(work_dir, 'pretrain'), scenes.paths, fit='stretch'))
    columns['image'] = scenes.images
    for title, maps in (('segmentation', segment(work_dir, 'segment', scenes.paths)), ('truth', scenes.truth)):
        columns[title] = [paint_labels(*pair, scenes.palette) for pair in zip(scenes.images, maps, strict=True)]
    write_picture(draw_grid(columns, width=1.7)[0], out / 'overview.png', dpi=120)


def draw_losses(work_dir: Path, out: Path) -> None:
    """The curves of :data:`CURVES`."""
    figure = new_figure(4 * len(CURVES), 3)
    for axis, (title, curves) in zip(figure.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        for name, (stage, key) in curves.items():
            log = max((work_dir / stage).glob('*/vis_data/scalars.json'))  # of the last start
            rows = [row for row in map(json.loads, log.open()) if key in row]
            axis.plot([row['step'] for row in rows], [row[key] for row in rows], label=name)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel('step', fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    write_picture(figure, out / 'curves.png', dpi=120)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', type=Path, help='of the quickstart')
    parser.add_argument('--out', type=Path, required=True, help='folder for the pictures')
    args = parser.parse_args(argv)
    with one_sentence_errors('demo.pictures'):
        args.out.mkdir(parents=True, exist_ok=True)
        for draw in (draw_tokens, draw_segments, draw_overview, draw_losses):
            draw(args.work_dir, args.out)


if __name__ == '__main__':
    main()
