"""Six channels of 16 bits from a folder of arrays to codes, features and pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS, init_default_scope

from mmbeitv2.apis import VisualTokenizer, read_config
from mmbeitv2.datasets import LoadChannels
from mmbeitv2.evaluation.probing import LabeledImages
from mmbeitv2.inference.channels import channels_of, is_tokenizer
from mmbeitv2.tokenizers import VQKD
from mmbeitv2.visualization.attention import attention_picture
from mmbeitv2.visualization.features import normalize, read_image
from mmbeitv2.visualization.masks import masks_picture
from tests.conftest import tiny_pretraining, tiny_tokenizer, tiny_vit, write_config

MEAN, STD = [1000.0 * (i + 1) for i in range(6)], [100.0 * (i + 1) for i in range(6)]
RANGES = [[mean - 2 * std, mean + 2 * std] for mean, std in zip(MEAN, STD, strict=True)]
LOAD = dict(type='mmbeitv2.LoadChannels', channels=6, dtype='uint16')
TOKENIZER = tiny_tokenizer(encoder=dict(tiny_tokenizer()['encoder'], in_channels=6), teacher_channels=(2, 1, 0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ('a', 'b'):
        (tmp_path / 'images' / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.normal(MEAN, STD, (40, 48, 6)).clip(0, 65535).astype(np.uint16)
            np.save(tmp_path / 'images' / name / f'{i}.npy', pixels)
    return tmp_path / 'images'


@pytest.fixture
def tokenizer(tmp_path: Path) -> tuple[str, str]:
    torch.save(MODELS.build(TOKENIZER).state_dict(), tmp_path / 'tokenizer.pth')
    preprocessor = dict(type='mmpretrain.ClsDataPreprocessor', mean=MEAN, std=[2 * std for std in STD], to_rgb=False)
    (tmp_path / 'tokenizer').mkdir()
    text = f'model = {dict(TOKENIZER, data_preprocessor=preprocessor)!r}\n'
    text += f'train_dataloader = dict(dataset=dict(pipeline=[{LOAD!r}]))\n'
    return write_config(tmp_path / 'tokenizer', text), str(tmp_path / 'tokenizer.pth')


def pretraining(tmp_path: Path, tokenizer: str) -> tuple[Config, str]:
    backbone = dict(tiny_pretraining()['backbone'], in_channels=6)
    frozen = dict(TOKENIZER, init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=tokenizer))
    preprocessor = dict(
        type='mmbeitv2.BEiTv2DataPreprocessor',
        mean=MEAN,
        std=STD,
        value_range=RANGES,
        color_channels=(2, 1, 0),
        to_rgb=False,
    )
    model = tiny_pretraining(backbone=backbone, tokenizer=frozen, data_preprocessor=preprocessor)
    mask = dict(type='mmbeitv2.BlockMaskGenerator', grid_size=4, num_masked=6, min_block=2)
    path = write_config(
        tmp_path,
        f"default_scope = 'mmpretrain'\nmodel = {model!r}\n"
        f'train_dataloader = dict(dataset=dict(pipeline=[{LOAD!r}, {mask!r}]))\n',
    )
    init_default_scope('mmpretrain')
    torch.save(MODELS.build(model).state_dict(), tmp_path / 'pretraining.pth')
    return read_config(path), str(tmp_path / 'pretraining.pth')


def test_tokenizer_and_pretraining_see_the_same_of_a_file(
    tmp_path: Path, folder: Path, tokenizer: tuple[str, str]
) -> None:
    visual = VisualTokenizer(*tokenizer, device='cpu', fit='stretch')
    cfg, _ = pretraining(tmp_path, tokenizer[1])
    same = VisualTokenizer(cfg, tokenizer[1], device='cpu', fit='stretch')
    path = folder / 'a' / '0.npy'
    pixels = np.load(path)
    codes = visual(path)
    assert codes.shape == (1, 4, 4)
    for images in (pixels, torch.from_numpy(pixels.astype(np.int32)).to(torch.uint16).permute(2, 0, 1)):
        assert torch.equal(visual(images), codes)
    assert torch.equal(same(path), codes)
    model = MODELS.build(cfg.model)
    prepared = visual.prepare(path)
    seen: dict = model.data_preprocessor(dict(inputs=prepared[None], mask=torch.ones(1, 16, dtype=torch.bool)))
    torch.testing.assert_close(seen['inputs']['views'][0], same.channels.for_tokenizer(prepared))
    torch.testing.assert_close(seen['inputs']['images'][0], normalize(prepared, cfg))


def test_pictures_show_the_color_channels_in_their_range(
    tmp_path: Path, folder: Path, tokenizer: tuple[str, str]
) -> None:
    cfg, checkpoint = pretraining(tmp_path, tokenizer[1])
    channels = channels_of(cfg)
    path = folder / 'b' / '1.npy'
    picture = channels.picture(read_image(path, (40, 48), 'stretch', channels)).numpy()
    low, high = np.array(RANGES)[[2, 1, 0]].T
    expected = (np.load(path)[..., [2, 1, 0]] - low) / (high - low) * 255
    assert np.abs(picture.transpose(1, 2, 0) - expected.clip(0, 255)).max() <= 1
    assert len(masks_picture(cfg, checkpoint, [path]).axes) == 4
    assert len(attention_picture(cfg, checkpoint, path).axes) == 8
    assert LabeledImages(folder, (32, 32), 'crop', channels)[3][0].shape == (6, 32, 32)


def test_segmentation_learns_from_six_channels_through_the_transforms_of_its_recipe(folder: Path) -> None:
    init_default_scope('mmseg')
    pipeline = Compose(
        [
            LOAD,
            dict(type='RandomResize', scale=(2048, 40), ratio_range=(0.8, 1.5), keep_ratio=True),
            dict(type='RandomCrop', crop_size=(32, 32), cat_max_ratio=1.0),
            dict(type='RandomFlip', prob=1.0),
            dict(type='PackSegInputs'),
        ]
    )
    model = MODELS.build(
        dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='mmbeitv2.ChannelsSegDataPreprocessor', size=(32, 32), mean=MEAN, std=STD),
            backbone=tiny_vit(in_channels=6, out_indices=(1,), out_type='featmap', final_norm='none'),
            decode_head=dict(
                type='FCNHead', in_channels=32, channels=8, num_convs=1, num_classes=3, norm_cfg=dict(type='BN')
            ),
            train_cfg=dict(),
            test_cfg=dict(mode='whole'),
        )
    )
    labels = dict(seg_fields=['gt_seg_map'])
    batch = [
        pipeline(dict(img_path=str(path), gt_seg_map=np.zeros((40, 48), np.uint8)) | labels)
        for path in sorted((folder / 'a').iterdir())
    ]
    assert all(sample['inputs'].shape == (6, 32, 32) for sample in batch)
    inputs = {key: [sample[key] for sample in batch] for key in ('inputs', 'data_samples')}
    data = model.data_preprocessor(inputs, training=True)
    spread = data['inputs'].std(dim=(0, 2, 3))
    assert ((spread > 0.3) & (spread < 1.5)).all()  # normalized, each channel by its own numbers
    assert model.loss(**data)['decode.loss_ce'].isfinite()


class OwnLoader(LoadChannels):
    """A loader of another project."""


class OwnTokenizer(VQKD):
    """A tokenizer of another project."""


def test_classes_and_subclasses_of_other_projects_are_what_they_inherit(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry, kind in ((TRANSFORMS, OwnLoader), (MODELS, OwnTokenizer)):
        monkeypatch.setitem(registry._module_dict, kind.__name__, kind)
    loader = dict(type='OwnLoader', channels=6, dtype='uint16')
    cfg = Config(dict(model=dict(type=OwnTokenizer), train_dataloader=dict(dataset=dict(pipeline=[loader]))))
    assert is_tokenizer(cfg)
    assert isinstance(channels_of(cfg).loader, OwnLoader)
