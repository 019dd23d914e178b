"""Draws what the quickstart learned: codebook, masks, segmentations, all of it for two scenes, and loss curves."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import mmcv
import numpy as np
from mmbeitv2_tools.errors import one_sentence_errors
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmseg.apis import inference_model, init_model

from mmbeitv2.apis import VisualTokenizer
from mmbeitv2.visualization.codebook import save_codebook_pictures
from mmbeitv2.visualization.curves import draw_curves, read_curve
from mmbeitv2.visualization.masks import masks_picture, predict_masked
from mmbeitv2.visualization.pictures import choose_images, new_figure, write_picture
from mmbeitv2.visualization.segmentation import draw_segmentations, paint_labels

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
    scenes = read_scenes(work_dir, count)
    labels = {'truth': scenes.truth}
    for title, stage in (('pretrained', 'segment'), ('from scratch', 'segment_scratch')):
        labels[title] = segment(work_dir, stage, scenes.paths)
    figure = draw_segmentations(scenes.images, labels, scenes.classes, scenes.palette)
    write_picture(figure, out / 'segmentations.png', dpi=120)


def draw_overview(work_dir: Path, out: Path, count: int = 3) -> None:
    """What each stage makes of some validation scenes: codes, masked image, predicted codes, segmentation, truth."""
    scenes = read_scenes(work_dir, count)
    cfg = stage_config(work_dir, 'pretrain')
    seen = predict_masked(cfg, last_checkpoint(work_dir, 'pretrain'), scenes.paths, fit='stretch')
    side = seen.images.shape[1] // seen.masks.shape[1]
    hidden = np.kron(seen.masks, np.ones((1, side, side), dtype=bool))[..., None]
    guesses, faded = seen.colors[seen.predicted], 0.75 + 0.25 * seen.colors[seen.codes]
    columns: dict[str, Sequence[np.ndarray] | np.ndarray] = {
        'image': scenes.images,
        'codes': seen.colors[seen.codes],
        'masked': np.where(hidden, 128, seen.images),
        'predicted codes': np.where(seen.masks[..., None], guesses, faded),
        'segmentation': segment(work_dir, 'segment', scenes.paths),
        'truth': scenes.truth,
    }
    figure = new_figure(1.7 * len(columns), 1.7 * count + 0.2)
    axes = figure.subplots(count, len(columns), squeeze=False)
    for column, (title, pictures) in enumerate(columns.items()):
        axes[0, column].set_title(title, fontsize=9)
        for row, picture in enumerate(pictures):
            if title in ('segmentation', 'truth'):
                picture = paint_labels(scenes.images[row], picture, scenes.classes, scenes.palette)
            axes[row, column].imshow(picture)
            axes[row, column].set_axis_off()
    write_picture(figure, out / 'overview.png', dpi=120)


class Scenes(NamedTuple):
    """Validation images of the segmentation, evenly spread over the set."""

    paths: list[Path]
    images: list[np.ndarray]  # (H, W, 3) uint8 RGB
    truth: list[np.ndarray]  # (H, W) uint8; 255 is no class
    classes: list[str]
    palette: np.ndarray  # (classes, 3) uint8


def read_scenes(work_dir: Path, count: int) -> Scenes:
    cfg = stage_config(work_dir, 'segment')
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    infos = [dataset.get_data_info(i) for i in np.linspace(0, len(dataset) - 1, count).astype(int)]
    return Scenes(
        paths=[Path(info['img_path']) for info in infos],
        images=[mmcv.imread(info['img_path'], channel_order='rgb') for info in infos],
        # 0 is unlabeled and the classes start from 1: as uint8, 0 - 1 is 255.
        truth=[mmcv.imread(info['seg_map_path'], flag='grayscale') - 1 for info in infos],
        classes=list(dataset.metainfo['classes']),
        palette=np.array(dataset.metainfo['palette'], dtype=np.uint8),
    )


def segment(work_dir: Path, stage: str, paths: Sequence[Path]) -> list[np.ndarray]:
    """Predicted classes (H, W) of each image."""
    cfg = stage_config(work_dir, stage)
    cfg.model.backbone.init_cfg = None
    model = init_model(cfg, last_checkpoint(work_dir, stage), device='cpu')
    return [inference_model(model, str(path)).pred_sem_seg.data[0].numpy() for path in paths]


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
