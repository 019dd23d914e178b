"""Draws what the quickstart learned: the codebook, masks, and what each stage makes of some scenes."""

from __future__ import annotations

import argparse
from pathlib import Path

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
from mmbeitv2.visualization.pictures import choose_files, draw_grid, paint_labels, write_picture


def read_stage(work_dir: Path, stage: str) -> tuple[Config, str]:
    """The whole config that a stage ran with, as its runner wrote it down, and its last checkpoint."""
    cfg = Config.fromfile(str(work_dir / stage / f'{stage}.py'))
    init_default_scope(cfg.default_scope)
    return cfg, str(last_checkpoint(work_dir / stage))


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
    save_codebook_pictures(tokenizer, list(choose_files(root, 512).values()), out, 'quickstart')
    seen = predict_masked(cfg, checkpoint, list(choose_files(root, 6).values()), fit='stretch')
    write_picture(draw_masks(seen), out / 'masks.png', dpi=120)


def draw_overview(work_dir: Path, out: Path, count: int = 6) -> None:
    """What each stage makes of some validation scenes: codes, masked image, predicted codes, segmentations, truth."""
    dataset = DATASETS.build(read_stage(work_dir, 'segment')[0].test_dataloader.dataset)
    infos = [dataset.get_data_info(i) for i in np.linspace(0, len(dataset) - 1, count).astype(int)]
    paths = [info['img_path'] for info in infos]
    images = [mmcv.imread(path, channel_order='rgb') for path in paths]
    labels = {'segmentation': segment(work_dir, 'segment', paths)}
    labels['from scratch'] = segment(work_dir, 'segment_scratch', paths)
    # 0 is unlabeled and the classes start from 1: as uint8, 0 - 1 is 255.
    labels['truth'] = [mmcv.imread(info['seg_map_path'], flag='grayscale') - 1 for info in infos]
    columns = masked_columns(predict_masked(*read_stage(work_dir, 'pretrain'), paths, fit='stretch'))
    columns['image'] = images
    palette = np.array(dataset.metainfo['palette'], dtype=np.uint8)
    for title, maps in labels.items():
        columns[title] = [paint_labels(*pair, palette) for pair in zip(images, maps, strict=True)]
    figure, _ = draw_grid(columns, width=1.7)
    colors = zip(dataset.metainfo['classes'], palette / 255, strict=True)
    legend = [Patch(facecolor=color, label=name) for name, color in colors]
    figure.legend(handles=legend, loc='outside lower center', ncols=9, fontsize=7, frameon=False)
    write_picture(figure, out / 'overview.png', dpi=120)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', type=Path, help='of the quickstart')
    parser.add_argument('--out', type=Path, required=True, help='folder for the pictures')
    args = parser.parse_args(argv)
    with one_sentence_errors('demo.pictures'):
        args.out.mkdir(parents=True, exist_ok=True)
        draw_tokens(args.work_dir, args.out)
        draw_overview(args.work_dir, args.out)


if __name__ == '__main__':
    main()
