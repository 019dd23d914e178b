"""A hook that scores the backbone during pretraining on labeled images, keeps the best weights, and stops in time."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_gather
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from mmbeitv2.datasets.seeding import generators_kept
from mmbeitv2.engine.monitoring import unwrapped
from mmbeitv2.errors import InputError
from mmbeitv2.evaluation.knn import knn_votes
from mmbeitv2.registry import HOOKS


@HOOKS.register_module()
class KNNHook(Hook):
    """Evaluates the backbone during pretraining by a k-nearest-neighbor classifier on its CLS token.

    Logs ``knn_top1`` (percent). The nearest images of the bank vote for their class, each vote weighted by
    exp(cosine / temperature) (Wu et al. 2018, as in DINO's evaluation).

    Training is not affected: the mode of the model and the random generators are restored. The first score, the best
    score and the number of scores below the first are stored in each checkpoint, so that a resumed run continues with
    them (mmengine's ``EarlyStoppingHook`` would count anew).

    Args:
        bank_dataloader: config of a loader of labeled images whose pipeline ends with ``PackInputs``.
        query_dataloader: the same for the images to classify.
        num_neighbors: number of neighbors that vote.
        temperature: temperature of the votes.
        interval: number of epochs, or iterations, between two scores; the last one is always computed.
        by_epoch: whether ``interval`` counts epochs.
        score_start: also compute a score before the first step.
        keep_best: keep the weights with the best score as ``best_knn_top1.pth`` in the work dir.
        patience: stop training after this many scores in a row that are below the one before the first step; None never
            stops.
    """

    priority = 'NORMAL'  # before checkpoints are written

    def __init__(
        self,
        bank_dataloader: dict,
        query_dataloader: dict,
        num_neighbors: int = 20,
        temperature: float = 0.07,
        interval: int = 10,
        by_epoch: bool = True,
        score_start: bool = False,
        keep_best: bool = False,
        patience: int | None = None,
    ) -> None:
        if patience is not None and (patience < 1 or not score_start):
            raise InputError(
                f'patience={patience} must be at least 1 and needs score_start=True, because later scores are '
                'compared with the one before the first step'
            )
        self.settings = {'bank_dataloader': bank_dataloader, 'query_dataloader': query_dataloader}
        self.num_neighbors, self.temperature = num_neighbors, temperature
        self.interval, self.by_epoch = interval, by_epoch
        self.score_start, self.keep_best, self.patience = score_start, keep_best, patience
        self._loaders: list[DataLoader] = []

    def before_train(self, runner: Runner) -> None:
        """Builds the loaders, so that what is wrong with the data stops the run before its first step."""
        model = unwrapped(runner)
        if not hasattr(model, 'cls_features'):
            raise InputError(
                'KNNHook only works with a model that has cls_features(), as a BEiTv2, but the model is a '
                f'{type(model).__name__}. Remove the hook from custom_hooks.'
            )
        with generators_kept():
            self._loaders = [runner.build_dataloader(loader, seed=runner.seed) for loader in self.settings.values()]
        self._check_classes()
        if self._is_over(self._record(runner)):
            runner.logger.warning('KNNHook had stopped this training. Raise its patience to continue.')
            runner.train_loop.stop_training = True

    def _check_classes(self) -> None:
        infos = [getattr(loader.dataset, 'metainfo', None) or {} for loader in self._loaders]
        first, second = (tuple(info.get('classes') or ()) for info in infos)
        if first and second and first != second:  # the scores would be wrong without an error
            raise InputError(
                f'bank_dataloader and query_dataloader of KNNHook must have the same classes, but have {len(first)} '
                f'and {len(second)}: number them alike, by the same class folders.'
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        if self.score_start and runner.iter == 0:
            self._take_score(runner, 0)

    def after_train_epoch(self, runner: Runner) -> None:
        if self.by_epoch and (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            self._take_score(runner, runner.epoch + 1)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        if not self.by_epoch and (self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner)):
            self._take_score(runner, runner.iter + 1)

    def _take_score(self, runner: Runner, step: int) -> None:
        """Scores the model after an epoch or iteration, counted from 1; 0 is before the first."""
        model: Any = unwrapped(runner)
        was_training = model.training
        model.eval()
        with generators_kept():
            score = self.score(model, *self._loaders)
        model.train(was_training)
        runner.message_hub.update_scalar('val/knn_top1', score)
        runner.visualizer.add_scalar('knn_top1', score, step=step)
        former = self._record(runner)
        record = {
            'start': score if step == 0 else former.get('start'),
            'best': max(score, former.get('best', score)),
            'best_step': step if score > former.get('best', -1.0) else former['best_step'],
        }
        is_below = record['start'] is not None and score < record['start']
        record['below'] = former.get('below', 0) + 1 if is_below else 0
        runner.message_hub.update_info('knn_top1_record', record)
        unit = 'Epoch' if self.by_epoch else 'Iter'
        since = f' (start {record["start"]:.2f}, best {record["best"]:.2f})' if step and self.score_start else ''
        runner.logger.info(f'{unit} [{step}] knn_top1: {score:.2f}{since}')
        if self.keep_best and record['best_step'] == step:
            runner.save_checkpoint(
                runner.work_dir,
                'best_knn_top1.pth',
                save_optimizer=False,
                save_param_scheduler=False,
                by_epoch=False,
                backend_args=dict(backend='mmbeitv2.AtomicBackend'),
            )
        if self._is_over(record):
            runner.logger.warning(
                f'Training stopped at {unit.lower()} {step}: knn_top1 was below the first score '
                f'({record["start"]:.2f}) for {self.patience} scores in a row. To train further, start again with a '
                'lower optim_wrapper.optimizer.lr'
            )
            runner.train_loop.stop_training = True

    def _record(self, runner: Runner) -> dict[str, Any]:
        """A summary of the scores so far; empty before the first one."""
        known = 'knn_top1_record' in runner.message_hub.runtime_info
        return runner.message_hub.get_info('knn_top1_record') if known else {}

    def _is_over(self, record: dict[str, Any]) -> bool:
        return self.patience is not None and record.get('below', 0) >= self.patience

    def score(self, model: Any, bank: DataLoader, queries: DataLoader) -> float:
        """The score of a model in eval mode, in percent, the same in all processes."""
        (features, labels), (unknown, truth) = (self._features(model, loader) for loader in (bank, queries))
        features, labels = _of_all_ranks(features, bank), _of_all_ranks(labels, bank)
        predicted = knn_votes(features, labels, unknown, self.num_neighbors, self.temperature).argmax(dim=1)
        return 100 * float(_of_all_ranks(predicted == truth, queries).double().mean())

    @torch.inference_mode()
    def _features(self, model: Any, loader: DataLoader) -> tuple[Tensor, Tensor]:
        """Unit CLS tokens (n, C) and labels (n,) of the images of this rank."""
        device = next(model.parameters()).device
        features, labels = [], []
        for batch in loader:
            features.append(model.cls_features(batch['inputs'].to(device)))
            labels += [sample.gt_label for sample in batch['data_samples']]
        return torch.cat(features), torch.cat(labels).to(device)


def _of_all_ranks(rows: Tensor, loader: DataLoader) -> Tensor:
    """The rows of all images of a loader in their order, none twice; samplers repeat some, so that ranks have as many.

    Args:
        rows: (n, ...), of the images of this rank.
        loader: which gave the images, with mmengine's ``DefaultSampler``.
    """
    dataset: Any = loader.dataset
    return torch.stack(all_gather(rows), dim=1).flatten(0, 1)[: len(dataset)]
