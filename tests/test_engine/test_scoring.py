"""Hooks that score a pretraining run; that a killed one resumes exactly, and that two processes score as one, is in
tests/test_tools/test_adapt.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner
from PIL import Image

from mmbeitv2.engine.scoring import KNNHook
from mmbeitv2.errors import InputError
from tests.conftest import EXACT_LOADER, EXACT_MASKED, EXACT_RUNTIME, tiny_pretraining, tiny_tokenizer, tiny_vit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What any backbone can tell: ``images/dark`` and ``images/bright``, eight of each."""
    rng = np.random.default_rng(0)
    for name, value in (('dark', 40), ('bright', 200)):
        (tmp_path / 'images' / name).mkdir(parents=True)
        for i in range(8):
            pixels = value + rng.integers(-30, 30, (40, 48, 3))
            Image.fromarray(np.uint8(pixels)).save(tmp_path / 'images' / name / f'{i}.jpg')
    return tmp_path


def images(root: Path) -> dict:
    fit = dict(type='mmbeitv2.FitImage', scale=32, fit='stretch')
    dataset = dict(
        type='mmbeitv2.ImageFolder',
        data_root=str(root / 'images'),
        with_label=True,
        pipeline=[dict(type='mmbeitv2.LoadImage'), fit, dict(type='PackInputs')],
    )
    sampler, collate = dict(type='DefaultSampler', shuffle=False), dict(type='default_collate')
    return dict(batch_size=4, num_workers=0, sampler=sampler, dataset=dataset, collate_fn=collate)


def knn(root: Path, **changes: object) -> dict:
    loaders = dict(bank_dataloader=images(root), query_dataloader=images(root))
    return dict(type='mmbeitv2.KNNHook', **loaders, num_neighbors=3, interval=1) | changes


def train(
    work_dir: Path, root: Path, *hooks: dict, model: dict | None = None, iters: int = 0, resume_from: str | None = None
) -> Runner:
    """Two epochs of four steps, or so many steps."""
    text = EXACT_RUNTIME + EXACT_LOADER.format(root=str(root / 'images'), pipeline=EXACT_MASKED)
    cfg = Config.fromstring(text, '.py')
    cfg.merge_from_dict(dict(work_dir=str(work_dir), load_from=resume_from, resume=resume_from is not None))
    # With a worker, which draws from generators of its own.
    cfg.train_dataloader.update(num_workers=1)
    cfg.train_cfg.max_epochs = 2
    if iters:
        cfg.train_cfg = dict(by_epoch=False, max_iters=iters)
        cfg.train_dataloader.sampler.type = 'mmbeitv2.SeededInfiniteSampler'
        cfg.default_hooks.checkpoint.update(interval=2, by_epoch=False, max_keep_ckpts=-1)
        cfg.param_scheduler = None
    backbone = tiny_vit(out_indices=(0, 1), out_type='raw', final_norm='norm', use_mask_token=True, drop_path_rate=0.5)
    cfg.model = model or tiny_pretraining(backbone=backbone)
    cfg.custom_hooks = [dict(type='mmbeitv2.ResumeGuardHook'), *hooks]
    cfg.experiment_name = f'{work_dir}{resume_from}'
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def scores(runner: Runner) -> list[float]:
    (curves,) = Path(runner.log_dir).rglob('scalars.json')
    found = runner.message_hub.get_scalar('val/knn_top1').data[0].tolist()
    assert curves.read_text().count('knn_top1') == len(found)
    return found


def weights(path: Path) -> dict:
    return torch.load(path, weights_only=False)['state_dict']


@pytest.mark.parametrize(('counting', 'count'), [(dict(interval=1), 2), (dict(interval=3, by_epoch=False), 3)])
def test_a_run_is_scored_and_training_is_not_changed(tmp_path: Path, root: Path, counting: dict, count: int) -> None:
    """The model has drop path, and draws it from the generator that a data loader takes its seed from."""
    scored = train(tmp_path / 'scored', root, knn(root, **counting))
    found = scores(scored)
    assert len(found) == count  # after 2 epochs; after 3, 6 and 8 steps
    assert found[-1] > 90
    assert scored.model.training
    assert not scored.model.tokenizer.module.training
    alone = train(tmp_path / 'alone', root)
    for key, value in alone.model.state_dict().items():
        assert torch.equal(value, scored.model.state_dict()[key]), key


def test_the_first_score_is_that_of_the_start_and_its_weights_are_kept_if_none_is_better(
    tmp_path: Path, root: Path
) -> None:
    model = MODELS.build(tiny_pretraining())
    model.init_weights()
    start = model.state_dict()
    torch.save(dict(state_dict=start), tmp_path / 'pretrained.pth')
    settings = tiny_pretraining(
        init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2', checkpoint=str(tmp_path / 'pretrained.pth'))
    )
    hook = knn(root, by_epoch=False, interval=2, score_start=True, keep_best=True)
    runner = train(tmp_path / 'work', root, hook, model=settings, iters=4)
    assert len(scores(runner)) == 3
    assert scores(runner)[0] == 100
    best = weights(tmp_path / 'work' / 'best_knn_top1.pth')
    assert all(torch.equal(best[key], start[key]) for key in start)
    assert not torch.equal(runner.model.head.lm_head.weight, start['head.lm_head.weight'])


def scripted(*values: float) -> type:
    """A hook whose scores are written down before."""
    left = iter(values)
    return type('KNNHook', (KNNHook,), dict(score=lambda *_: next(left)))


def test_a_better_score_replaces_the_best_weights(tmp_path: Path, root: Path) -> None:
    hook = knn(root, type=scripted(50.0, 40.0, 70.0, 60.0, 70.0), by_epoch=False, score_start=True, keep_best=True)
    runner = train(tmp_path, root, hook, iters=4)
    best, second = weights(tmp_path / 'best_knn_top1.pth'), weights(tmp_path / 'iter_2.pth')
    assert all(torch.equal(best[key], second[key]) for key in best)
    record = dict(start=50.0, best=70.0, best_step=2, below=0)
    assert runner.message_hub.get_info('knn_top1_record') == record


def test_a_run_that_was_stopped_stays_so_until_more_patience_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture, root: Path
) -> None:
    hook = knn(root, type=scripted(50.0, 40.0, 30.0), score_start=True, patience=1)
    assert train(tmp_path, root, hook).iter == 4
    last = str(tmp_path / 'epoch_1.pth')
    assert train(tmp_path, root, hook, resume_from=last).iter == 4
    assert 'KNNHook had stopped this training. Raise its patience to continue' in capsys.readouterr().out
    assert train(tmp_path, root, hook | dict(patience=3), resume_from=last).iter == 8


def test_what_cannot_be_scored_stops_the_run_before_its_first_step(tmp_path: Path, root: Path) -> None:
    cases: list[tuple[dict, str]] = [
        (knn(root, query_dataloader=images(root / 'nowhere')), "image folder '.*nowhere/images' not found"),
        (knn(root, patience=3), 'patience=3 .* needs score_start=True'),
    ]
    for hook, message in cases:
        with pytest.raises(InputError, match=message):
            train(tmp_path / 'work', root, hook)
    with pytest.raises(InputError, match=r'only works with a model that has cls_features\(\)'):
        train(tmp_path / 'work', root, knn(root), model=tiny_tokenizer())
    assert not list((tmp_path / 'work').glob('*.pth'))


class OwnModel(BaseModel):
    """A model of another project, which has nothing of this package but the method that a hook asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.ones(3))

    def cls_features(self, crops: torch.Tensor) -> torch.Tensor:
        return F.normalize(crops.float().mean(dim=(2, 3)) - 120, dim=1)

    def forward(self, inputs: Any, data_samples: object = None, mode: str = 'tensor', **_: object) -> dict:
        return dict(loss=self.weights.square().sum())


def test_any_model_with_such_features_is_scored(tmp_path: Path, root: Path) -> None:
    assert scores(train(tmp_path, root, knn(root, interval=2), model=dict(type=OwnModel))) == [100]
