"""A hook that scores pretraining by segmentation, without training a head."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmbeitv2.datasets.seeding import generators_kept
from mmbeitv2.engine.monitoring import unwrapped
from mmbeitv2.errors import InputError
from mmbeitv2.evaluation.patch_knn import classes_of, score_by_patches
from mmbeitv2.models import BEiTv2
from mmbeitv2.registry import HOOKS


@HOOKS.register_module()
class PatchKNNHook(Hook):
    """Evaluates the backbone during pretraining by segmentation with nearest patches.

    Logs ``patch_knn_mIoU`` (percent), see :func:`mmbeitv2.evaluation.patch_knn.score_by_patches`. Training is not
    changed: the model's mode and the generators of random numbers are put back.

    Args:
        bank_dataloader: config of a loader of labelled images, e.g. of a :class:`mmbeitv2.datasets.SegFolder`, whose
            pipeline resizes the image, then loads the labels, and ends with ``mmseg.PackSegInputs``.
        query_dataloader: the same for the images to score.
        interval: number of epochs, or iterations, between two evaluations; the last is always evaluated.
        by_epoch: whether ``interval`` counts epochs.
        max_per_class: patches of a class that the bank keeps, chosen by the seed of the run.
        num_neighbors: number of neighbours whose labels are averaged.
        temperature: a neighbour's weight is proportional to exp(cosine / temperature).
    """

    priority = 'NORMAL'

    def __init__(
        self,
        bank_dataloader: dict,
        query_dataloader: dict,
        interval: int = 10,
        by_epoch: bool = True,
        max_per_class: int = 1000,
        num_neighbors: int = 30,
        temperature: float = 0.02,
    ) -> None:
        self.settings = (bank_dataloader, query_dataloader)
        self.interval, self.by_epoch = interval, by_epoch
        self.max_per_class, self.num_neighbors, self.temperature = max_per_class, num_neighbors, temperature
        self._loaders: list[DataLoader] = []

    def before_train(self, runner: Runner) -> None:
        """Builds the loaders, so that what is wrong with the data stops the run before its first step."""
        if not isinstance(unwrapped(runner), BEiTv2):
            raise InputError(
                f'PatchKNNHook works only with a BEiTv2, but the model is a {type(unwrapped(runner)).__name__}: remove '
                'the hook from custom_hooks'
            )
        with generators_kept():
            self._loaders = [runner.build_dataloader(settings, seed=runner.seed) for settings in self.settings]
        classes_of(*self._loaders)

    def after_train_epoch(self, runner: Runner) -> None:
        if self.by_epoch and (self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner)):
            self._score(runner, runner.epoch + 1)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        if not self.by_epoch and (self.every_n_train_iters(runner, self.interval) or self.is_last_train_iter(runner)):
            self._score(runner, runner.iter + 1)

    def _score(self, runner: Runner, step: int) -> None:
        model = unwrapped(runner)
        assert isinstance(model, BEiTv2)
        was_training = model.training
        model.eval()
        with generators_kept():
            bank, queries = self._loaders
            scores = score_by_patches(
                model, bank, queries, self.max_per_class, self.num_neighbors, self.temperature, runner.seed
            )
        model.train(was_training)
        runner.message_hub.update_scalar('val/patch_knn_mIoU', scores['mIoU'])
        runner.visualizer.add_scalar('patch_knn_mIoU', scores['mIoU'], step=step)
        runner.logger.info(f'{"Epoch" if self.by_epoch else "Iter"} [{step}] patch_knn_mIoU: {scores["mIoU"]:.2f}')
