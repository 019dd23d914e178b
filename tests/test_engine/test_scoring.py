from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner

from mmbeitv2.engine.scoring import KNNHook
from mmbeitv2.errors import InputError
from mmbeitv2.evaluation.knn import knn_classify
from tests.conftest import EXACT_MASKED, tiny_pretraining, tiny_tokenizer


def test_neighbors_vote_by_their_similarity() -> None:
    bank = F.normalize(torch.randn(50, 6), dim=1)
    labels = torch.randint(0, 4, (50,))
    queries = F.normalize(torch.randn(30, 6), dim=1)
    predicted = knn_classify(bank, labels, queries, num_neighbors=7, temperature=0.1)
    for query, found in zip(queries.tolist(), predicted.tolist(), strict=True):
        similarity = [sum(a * b for a, b in zip(query, row, strict=True)) for row in bank.tolist()]
        nearest = sorted(range(50), key=lambda i: -similarity[i])[:7]
        votes = [sum(math.exp(similarity[i] / 0.1) for i in nearest if labels[i] == label) for label in range(4)]
        assert found == votes.index(max(votes))


@pytest.fixture
def root(tmp_path: Path, image_folder: Path) -> Path:
    """Sixteen images of two classes, one dark, one bright: what any backbone can tell."""
    for i in range(8):
        for name, value in (('cat', 40), ('dog', 200)):
            noise = np.random.default_rng(i).integers(-30, 30, (40, 48, 3))
            cv2.imwrite(str(image_folder / name / 'nested' / f'{i}.jpg'), np.uint8(value + noise))
    return image_folder


@pytest.fixture
def pretrained(tmp_path: Path) -> str:
    """A whole pretraining model and, beside it, its tokenizer."""
    model = MODELS.build(tiny_pretraining())
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'pretrained.pth')
    torch.save(model.tokenizer.module.state_dict(), tmp_path / 'tokenizer.pth')
    return str(tmp_path / 'pretrained.pth')


def labeled(root: Path, **dataset: object) -> dict:
    pipeline = [
        dict(type='mmbeitv2.LoadImage'),
        dict(type='mmbeitv2.FitImage', scale=32, fit='stretch'),
        dict(type='PackInputs'),
    ]
    return dict(
        batch_size=4,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(
            type='mmbeitv2.ImageFolder', data_root=str(root), pipeline=pipeline, **{'with_label': True, **dataset}
        ),
    )


class Kill(Hook):
    """Ends the run within a step, as a signal would."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        if runner.iter == 5:
            raise KeyboardInterrupt


def adapt(
    work_dir: Path,
    root: Path,
    pretrained: str,
    lr: float = 1e-3,
    by_epoch: bool = False,
    resume_from: str | None = None,
    killed: bool = False,
    model: dict | None = None,
    hook: dict | None = None,
) -> Runner:
    """Two epochs of four steps from a pretrained file, a score after each step or epoch."""
    loading = dict(type='mmbeitv2.PretrainedBEiTv2')
    tokenizer = tiny_tokenizer(init_cfg=dict(loading, checkpoint=str(Path(pretrained).with_name('tokenizer.pth'))))
    sampler = 'mmbeitv2.SeededSampler' if by_epoch else 'mmbeitv2.SeededInfiniteSampler'
    length = dict(by_epoch=True, max_epochs=2) if by_epoch else dict(by_epoch=False, max_iters=8)
    scoring = dict(
        type='mmbeitv2.KNNHook',
        bank_dataloader=labeled(root),
        query_dataloader=labeled(root),
        interval=1,
        by_epoch=by_epoch,
        num_neighbors=3,
        score_start=True,
        keep_best=True,
    )
    runner = Runner(
        model=ConfigDict(
            tiny_pretraining(tokenizer=tokenizer, init_cfg=dict(loading, checkpoint=pretrained)) | (model or {})
        ),
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type=sampler, shuffle=True),
            collate_fn=dict(type='default_collate'),
            dataset=dict(type='mmbeitv2.ImageFolder', data_root=str(root), pipeline=EXACT_MASKED),
        ),
        optim_wrapper=dict(
            optimizer=dict(type='AdamW', lr=lr),
            constructor='mmbeitv2.LayerDecayOptimWrapperConstructor',
            paramwise_cfg=dict(layer_decay_rate=0.8),
        ),
        param_scheduler=dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2),
        train_cfg=length,
        default_hooks=dict(
            checkpoint=dict(type='mmbeitv2.AtomicCheckpointHook', interval=1 if by_epoch else 2, by_epoch=by_epoch)
        ),
        custom_hooks=[
            dict(type='mmbeitv2.ResumeGuardHook'),
            dict(type='mmbeitv2.SeedStepHook'),
            scoring | (hook or {}),
            *([Kill()] if killed else []),
        ],
        default_scope='mmpretrain',
        experiment_name=f'{work_dir}{resume_from}',
        randomness=dict(seed=3),
        load_from=resume_from,
        resume=resume_from is not None,
    )
    with suppress(KeyboardInterrupt):
        runner.train()
    return runner


def scores(runner: Runner) -> list[float]:
    return runner.message_hub.get_scalar('val/knn_top1').data[0].tolist()


def weights(path: Path) -> dict:
    return torch.load(path, weights_only=False)['state_dict']


@pytest.mark.parametrize(('by_epoch', 'count'), [(False, 9), (True, 3)])
def test_the_first_score_is_that_of_the_file_and_the_best_weights_are_kept(
    tmp_path: Path, root: Path, pretrained: str, by_epoch: bool, count: int
) -> None:
    runner = adapt(tmp_path / 'work', root, pretrained, by_epoch=by_epoch)
    assert len(scores(runner)) == count  # before the first step, and after each step or epoch
    assert scores(runner)[0] == 100
    best, start = weights(tmp_path / 'work' / 'best_knn_top1.pth'), weights(Path(pretrained))
    assert all(torch.equal(best[key], start[key]) for key in start)  # no later score is higher
    assert not torch.equal(runner.model.head.lm_head.weight, start['head.lm_head.weight'])
    assert runner.model.training
    assert not runner.model.tokenizer.module.training
    (curves,) = (tmp_path / 'work').rglob('scalars.json')
    assert curves.read_text().count('knn_top1') == count


def scripted(*values: float) -> type:
    """A hook whose scores are written down before."""
    scores = iter(values)
    return type('KNNHook', (KNNHook,), dict(score=lambda *_: next(scores)))


def test_a_better_score_replaces_the_best_weights(tmp_path: Path, root: Path, pretrained: str) -> None:
    kind = scripted(50.0, 40.0, 70.0, 60.0, 70.0, 10.0, 20.0, 30.0, 40.0)
    runner = adapt(tmp_path, root, pretrained, hook=dict(type=kind))
    best, second = weights(tmp_path / 'best_knn_top1.pth'), weights(tmp_path / 'iter_2.pth')
    assert all(torch.equal(best[key], second[key]) for key in best)
    record = dict(start=50.0, best=70.0, best_step=2, below=4)
    assert runner.message_hub.get_info('knn_top1_record') == record


def test_a_run_by_epochs_that_was_stopped_stays_so_until_more_patience_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture, root: Path, pretrained: str
) -> None:
    hook = dict(type=scripted(50.0, 40.0, 30.0), patience=1)
    assert adapt(tmp_path, root, pretrained, by_epoch=True, hook=hook).iter == 4
    last = str(tmp_path / 'epoch_1.pth')
    assert adapt(tmp_path, root, pretrained, by_epoch=True, resume_from=last, hook=hook).iter == 4
    assert 'KNNHook had stopped this training. Raise its patience to continue' in capsys.readouterr().out
    hook |= dict(patience=3)
    assert adapt(tmp_path, root, pretrained, by_epoch=True, resume_from=last, hook=hook).iter == 8


def test_an_adaptation_that_was_killed_and_resumed_ends_as_one_left_alone(
    tmp_path: Path, image_folder: Path, pretrained: str
) -> None:
    # Noise under two names, so that the score depends on the weights.
    changes = dict(lr=0.03, hook=dict(patience=50))
    alone = adapt(tmp_path / 'alone', image_folder, pretrained, **changes)
    assert len(set(scores(alone))) > 1
    adapt(tmp_path / 'killed', image_folder, pretrained, killed=True, **changes)
    assert not (tmp_path / 'killed' / 'iter_6.pth').exists()
    last = str(tmp_path / 'killed' / 'iter_4.pth')
    assert scores(adapt(tmp_path / 'killed', image_folder, pretrained, resume_from=last, **changes)) == scores(alone)
    for name in ('iter_8.pth', 'best_knn_top1.pth'):
        one, other = (torch.load(tmp_path / run / name, weights_only=False) for run in ('alone', 'killed'))
        for part in ('state_dict', 'optimizer'):
            torch.testing.assert_close(other.get(part), one.get(part), rtol=0, atol=0)
        records = [file['message_hub']['runtime_info']['knn_top1_record'] for file in (one, other)]
        assert records[0] == records[1]
        assert one['meta']['iter'] == other['meta']['iter']


@pytest.mark.parametrize(
    ('hook', 'message'),
    [
        (dict(query_dataloader='nowhere'), "image folder '.*nowhere' not found"),
        (dict(bank_dataloader=None), r'bank_dataloader of KNNHook yields images without labels. Set with_label=True'),
        (dict(patience=0), 'patience=0 must be at least 1'),
        (dict(patience=3, score_start=False), 'patience=3 .* needs score_start=True'),
    ],
)
def test_a_score_without_labels_stops_the_run_before_its_first_step(
    tmp_path: Path, root: Path, pretrained: str, hook: dict, message: str
) -> None:
    loaders = {
        key: labeled(root, with_label=False) if value is None else labeled(tmp_path / value)
        for key, value in hook.items()
        if key.endswith('dataloader')
    }
    with pytest.raises(InputError, match=message):
        adapt(tmp_path / 'work', root, pretrained, hook=hook | loaders)
    assert not list((tmp_path / 'work').glob('*.pth'))


@MODELS.register_module()
class OwnModel(BaseModel):
    """A model of another project, which has nothing of this package but the method that a hook asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.ones(3))

    def cls_features(self, crops: torch.Tensor) -> torch.Tensor:
        return F.normalize(crops.float().mean(dim=(2, 3)) - 120, dim=1)

    def forward(self, inputs: torch.Tensor, data_samples: object = None, mode: str = 'tensor', **_: object) -> dict:
        return dict(loss=self.weights.square().sum())


def test_any_model_with_such_features_is_scored(tmp_path: Path, root: Path) -> None:
    runner = Runner(
        model=dict(type='OwnModel'),
        work_dir=str(tmp_path),
        train_dataloader=labeled(root),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        custom_hooks=[dict(type='mmbeitv2.KNNHook', bank_dataloader=labeled(root), query_dataloader=labeled(root))],
        default_scope='mmpretrain',
        experiment_name=str(tmp_path),
    )
    runner.train()
    assert scores(runner) == [100]
