from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.runner import Runner
from PIL import Image

from mmbeitv2.errors import InputError
from tests.conftest import EXACT_MASKED, tiny_pretraining, tiny_tokenizer, tiny_vit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight images of 40x48, dark on the left and bright on the right, as their labels say."""
    rng = np.random.default_rng(0)
    for name in ('images', 'labels'):
        (tmp_path / 'data' / name).mkdir(parents=True)
    labels = np.repeat([[0] * 24 + [1] * 24], 40, axis=0).astype(np.uint8)
    for i in range(8):
        pixels = (40 + 160 * labels)[..., None] + rng.integers(-30, 30, (40, 48, 3))
        Image.fromarray(np.uint8(pixels)).save(tmp_path / 'data' / 'images' / f'{i}.jpg')
        Image.fromarray(labels).save(tmp_path / 'data' / 'labels' / f'{i}.png')
    return tmp_path / 'data'


def labeled(root: Path, classes: list[str], num_workers: int = 0) -> dict:
    pipeline = [
        dict(type='mmbeitv2.LoadImage'),
        dict(type='mmbeitv2.FitImage', scale=32, fit='stretch'),
        dict(type='mmbeitv2.LoadSegLabels', num_classes=len(classes)),
        dict(type='mmseg.PackSegInputs'),
    ]
    return dict(
        batch_size=4,
        num_workers=num_workers,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='mmbeitv2.SegFolder', data_root=str(root), classes=classes, pipeline=pipeline),
    )


def train(work_dir: Path, root: Path, hooks: list[dict], model: dict | None = None) -> Runner:
    backbone = tiny_vit(out_indices=(0, 1), out_type='raw', final_norm='norm', use_mask_token=True, drop_path_rate=0.5)
    runner = Runner(
        model=ConfigDict(model or tiny_pretraining(backbone=backbone)),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=4,
            num_workers=1,  # else loading would seed the generator of this process anew
            persistent_workers=True,
            sampler=dict(type='mmbeitv2.SeededSampler', shuffle=True),
            collate_fn=dict(type='default_collate'),
            dataset=dict(type='mmbeitv2.ImageFolder', data_root=str(root / 'images'), pipeline=EXACT_MASKED),
        ),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        custom_hooks=hooks,
        default_scope='mmpretrain',
        experiment_name=str(work_dir),
        randomness=dict(seed=3),
    )
    runner.train()
    return runner


@pytest.mark.parametrize(('counting', 'evaluations'), [(dict(interval=2), 2), (dict(interval=2, by_epoch=False), 3)])
def test_segmentation_is_scored_and_training_is_not_changed(
    tmp_path: Path, root: Path, counting: dict, evaluations: int
) -> None:
    """The model has drop path, and draws it from the generator that a data loader takes its seed from."""
    data = labeled(root, ['dark', 'bright'])
    hook = dict(type='mmbeitv2.PatchKNNHook', bank_dataloader=data, query_dataloader=data, num_neighbors=3, **counting)
    scored = train(tmp_path / 'scored', root, [hook])
    scores = scored.message_hub.get_scalar('val/patch_knn_mIoU').data[0]
    assert len(scores) == evaluations  # 2 and 3 of 3 epochs; 2, 4 and 6 of 6 steps
    assert scores[-1] > 90
    (curves,) = (tmp_path / 'scored').rglob('scalars.json')
    assert curves.read_text().count('patch_knn_mIoU') == evaluations
    assert scored.model.training
    assert not scored.model.tokenizer.module.training
    alone = train(tmp_path / 'alone', root, [])
    for key, value in alone.model.state_dict().items():
        assert torch.equal(value, scored.model.state_dict()[key]), key


def test_what_is_wrong_with_the_bank_stops_the_run_before_its_first_step(tmp_path: Path, root: Path) -> None:
    hook = dict(type='mmbeitv2.PatchKNNHook', bank_dataloader=labeled(root, ['dark', 'bright']))
    other = labeled(root, ['dark', 'bright', 'third'])
    with pytest.raises(InputError, match='must have the same classes, but have 2 and 3'):
        train(tmp_path / 'work', root, [hook | dict(query_dataloader=other)])
    (root / 'labels' / '3.png').unlink()
    with pytest.raises(InputError, match=r"images/3.jpg' has no label image '.*labels/3.png'"):
        train(tmp_path / 'work', root, [hook | dict(query_dataloader=other)])
    with pytest.raises(InputError, match=r'only works with a model that has patch_features\(\)'):
        train(tmp_path / 'work', root, [hook | dict(query_dataloader=other)], model=tiny_tokenizer())
