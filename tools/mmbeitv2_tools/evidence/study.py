"""A study as a list of jobs, each a command with its record."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmbeitv2.errors import InputError
from mmbeitv2.fileio.atomic import write_atomically
from mmbeitv2.inference.config import read_config, walk_settings

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / 'configs/evidence'
# How the ViT of a row is read: the config of its fine-tuning and of its segmentation, what differs there in the model,
# and what differs in the backbone where it stays frozen.
FROZEN = dict(out_type='raw', final_norm='fc_norm')
ENCODERS: dict[str, tuple[str, dict, dict]] = {
    'beitv2': ('', {}, dict(out_type='raw', final_norm='norm', rel_pos_bias='shared')),
    'vqkd': (
        '',
        dict(
            backbone=dict(use_abs_pos_emb=True, rel_pos_bias='none'),
            data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
        ),
        FROZEN,
    ),
    'supervised': ('', {}, FROZEN),
    'scratch': ('_scratch', {}, FROZEN),
    'mmpretrain': ('_mmpretrain', {}, dict(out_type='raw', final_norm=True)),
    'timm': ('_timm', dict(backbone=dict(init_cfg=dict(type='mmbeitv2.PretrainedBEiTv2'))), dict(out_type='raw')),
    'timm_scratch': ('_timm', {}, dict(out_type='raw')),
}


@dataclass
class Run:
    """A pretraining, or no pretraining, with its readings.

    Args:
        seed: of the initial weights and the order of the data.
        share: of the steps of the study.
        readings: the fine-tunings that follow; frozen features are always read.
    """

    seed: int
    share: float
    readings: list[str] = field(default_factory=list)


@dataclass
class Job:
    """One command of a study.

    Args:
        name: of its record and of its folder below the work dir, row first.
        config: name of a config of the study.
        options: what differs from it, nested as in a config.
        checkpoint: file in its folder that it leaves for others, or None for readings of frozen features.
        needs: files of other jobs.
        dense: whether a frozen reading includes CamVid.
    """

    name: str
    config: str
    options: dict = field(default_factory=dict)
    checkpoint: str | None = None
    needs: list[Path] = field(default_factory=list)
    dense: bool = False

    @property
    def row(self) -> str:
        return self.name.split('/')[0]


class Study:
    """The jobs of a study that its records allow to name.

    Args:
        path: config of the study.
        work: folder of the runs.
        records: folder of the records, one file for each row.
        teacher: weights of the teacher; None for those that timm downloads.
    """

    def __init__(self, path: Path, work: Path, records: Path, teacher: str | None = None) -> None:
        self.cfg = Config.fromfile(path)
        self.work, self.folder, self.teacher = work, records, teacher
        self.rows: dict[str, dict] = {name: {'seeds': 1, 'full': True, **row} for name, row in self.cfg.rows.items()}
        self.rows |= {name: {**self.cfg.variant, **row} for name, row in self.cfg.variants.items()}
        self.records: dict[str, dict] = {}
        for file in sorted(records.glob('*.json')):
            try:
                self.records |= {name: dict(record) for name, record in json.loads(file.read_text()).items()}
            except (AttributeError, TypeError, ValueError) as error:
                raise InputError(
                    f'{str(file)!r} is no file of records ({error}). Restore it, or delete it to run its jobs again.'
                ) from error
        self.forget_outdated()

    def forget_outdated(self) -> None:
        """Drops the records of jobs that would now run otherwise, and of those that need their files."""
        while True:
            jobs = list(self.jobs())
            owners = {self.file(job): job.name for job in jobs if job.checkpoint}
            outdated = {
                job.name
                for job in jobs
                if job.name in self.records
                and (
                    settings_of(job.options) != settings_of(self.records[job.name].get('options', {}))
                    or any(owners[path] not in self.records for path in job.needs)
                )
            }
            if not outdated:
                return
            for name in outdated:
                del self.records[name]

    def save(self, job: Job, record: dict) -> None:
        """Adds the record of a job to the file of its row."""
        self.records[job.name] = record
        self.forget_outdated()  # a learning rate may have been chosen
        own = {name: value for name, value in self.records.items() if name.split('/')[0] == job.row}
        text = json.dumps(dict(sorted(own.items())), indent=1)
        write_atomically(self.folder / f'{job.row}.json', text.encode())

    def result(self, name: str) -> Any:
        """What a job gave, or None."""
        return self.records.get(name, {}).get('result')

    def runs(self, name: str) -> dict[str, Run]:
        """The runs of a row: one for each seed, the first of them named after its learning rate if that was chosen, and
        ``full``, for all of the steps. Where nothing is pretrained, the first seed has all readings."""
        row = self.rows[name]
        every = [] if row.get('frozen_only') else [*(f'finetune_{share}' for share in self.cfg.finetuning), 'segment']
        few = [reading for reading in every if reading == 'finetune_10' and row['seeds'] > 1]
        lr = self.pretraining_lr(name)
        names = {0: f'half_{lr:g}'} if lr and self.is_swept(name) else {}
        runs = {names.get(k, f'seed_{k}'): Run(k, self.cfg.seed_share, few) for k in range(row['seeds'])}
        if row['full']:
            runs['full' if row.get('config') else 'seed_0'] = Run(0, 1.0, every)
        return runs

    def is_swept(self, name: str) -> bool:
        """Whether the learning rate of a row's pretraining is chosen for this row."""
        row = self.rows[name]
        return bool(row.get('config')) and not (row.get('lr') or row.get('lr_of'))

    def main_run(self, name: str) -> str:
        """Name of the run of a row that has all of its readings."""
        return 'full' if 'full' in self.runs(name) else self.first_seed(name)

    def first_seed(self, name: str) -> str:
        """Name of the run of a row's first seed; of its only run, if there is no seed."""
        return next(iter(self.runs(name)))

    def is_pending(self, name: str) -> bool:
        """Whether the learning rate of a row's pretraining is still to be chosen."""
        return bool(self.rows[name].get('config')) and self.pretraining_lr(name) is None

    def jobs(self) -> Iterator[Job]:
        """All jobs that can be named so far."""
        for name in self.rows:
            yield from self.row_jobs(name)

    def row_jobs(self, name: str) -> Iterator[Job]:
        """The jobs of a row; its runs follow the choice of its learning rates."""
        row = self.rows[name]
        if row.get('tokenizer'):
            yield self.tokenizer_job(row['tokenizer'])
        if self.is_swept(name):
            tries = [(f'lr_{rate:g}', rate, self.cfg.sweep_share) for rate in self.pretraining_lrs(name)]
            tries += [(f'half_{rate:g}', rate, self.cfg.seed_share) for rate in self.finalists(name)]
            for key, rate, share in tries:
                job = self.pretraining_job(f'{name}/{key}', row, rate, Run(0, share))
                dense = share == self.cfg.seed_share
                yield from (job, self.frozen_job(f'{name}/{key}/frozen', row, self.file(job), 0, dense))
        lr = self.pretraining_lr(name)
        for key, run in self.runs(name).items():
            weights = None
            if row.get('config'):
                if lr is None:
                    return
                job = self.pretraining_job(f'{name}/{key}', row, lr, run)
                weights = self.file(job)
                yield job
            elif row.get('tokenizer'):
                weights = self.file(self.tokenizer_job(row['tokenizer']))
            yield self.frozen_job(f'{name}/{key}/frozen', row, weights, run.seed, dense=True)
            yield from self.finetuning_jobs(name, key, run, weights)

    def finetuning_jobs(self, name: str, key: str, run: Run, weights: Path | None) -> Iterator[Job]:
        """The fine-tunings of a run; those of the main run begin with the choice of the learning rate."""
        row = self.rows[name]
        if run.readings and key == self.main_run(name):
            for rate in self.finetuning_lrs(name):
                yield self.finetuning_job(f'{name}/finetune_lr_{rate:g}', row, weights, '10', rate, 0, is_choice=True)
        lr = self.best_lr(name, self.finetuning_lrs(name), '', top1, 'finetune_lr_')
        if lr is None:
            return
        for reading in run.readings:
            if reading == 'segment':
                yield self.segmentation_job(f'{name}/{key}/segment', row, weights, run.seed)
            else:
                share = reading.removeprefix('finetune_')
                yield self.finetuning_job(f'{name}/{key}/{reading}', row, weights, share, lr, run.seed)

    def finetuning_lrs(self, name: str) -> list[float]:
        """The learning rates to try for a row's fine-tuning: those of the study, and one more beyond the highest or the
        lowest if that is the best."""
        lrs = list(self.cfg.finetuning_lrs)
        best = self.best_lr(name, lrs, '', top1, 'finetune_lr_')
        return with_more(lrs, [best], 4)

    def pretraining_lrs(self, name: str) -> list[float]:
        """The learning rates to try for a row's pretraining: those of the study, and one more beyond the highest or the
        lowest if it is near the best."""
        lrs = list(self.cfg.lrs)
        return with_more(lrs, self.near_best(name, lrs), 3)

    def finalists(self, name: str) -> list[float]:
        """The learning rates of a row that are tried again for longer."""
        return self.near_best(name, self.pretraining_lrs(name))

    def near_best(self, name: str, lrs: list[float]) -> list[float]:
        """Those learning rates of a row that are near the best; none until all are known."""
        results = [self.result(f'{name}/lr_{lr:g}/frozen') for lr in lrs]
        if any(result is None for result in results):
            return []
        scores = [held_out(result) for result in results]
        return [lr for lr, score in zip(lrs, scores, strict=True) if score >= max(scores) - self.cfg.sweep_margin]

    def pretraining_lr(self, name: str) -> float | None:
        """The learning rate of a row's pretraining; None until it is chosen."""
        row = self.rows[name]
        if row.get('lr'):
            return row['lr']
        if row.get('lr_of'):
            return self.pretraining_lr(row['lr_of'])
        finalists = self.finalists(name)
        if len(finalists) < 2:
            return finalists[0] if finalists else None
        return self.best_lr(name, finalists, '/frozen', held_out, 'half_')

    def best_lr(self, name: str, lrs: Any, suffix: str, score: Any, prefix: str) -> float | None:
        """The learning rate of a row with the best score; None until all are known."""
        results = [self.result(f'{name}/{prefix}{lr:g}{suffix}') for lr in lrs]
        if any(result is None for result in results):
            return None
        return max(zip(map(score, results), lrs, strict=True))[1]

    def file(self, job: Job) -> Path:
        return self.work / job.name / str(job.checkpoint)

    def tokenizer_job(self, name: str) -> Job:
        tokenizer = self.cfg.tokenizers[name]
        options = {**self.schedule(tokenizer['steps'], 1e-3, 0), 'model': tokenizer.get('model', {})}
        if name == 'kmeans':
            options.pop('optim_wrapper')
            options.pop('param_scheduler')
        return Job(f'tokenizers/{name}', tokenizer['config'], options, f'iter_{tokenizer["steps"]}.pth')

    def pretraining_job(self, name: str, row: dict, lr: float, run: Run) -> Job:
        steps = round(self.cfg.steps * run.share)
        options, needs = merge(row.get('options', {}), self.schedule(steps, lr, run.seed)), []
        if row.get('tokenizer'):
            tokenizer = self.cfg.tokenizers[row['tokenizer']]
            needs = [self.file(self.tokenizer_job(row['tokenizer']))]
            settings = {**tokenizer.get('model', {}), 'init_cfg': dict(checkpoint=str(needs[0]))}
            settings.pop('teacher', None)  # pretraining has none
            if 'target_dims' in tokenizer:
                settings['target_dims'] = tokenizer['target_dims']
            options = merge(options, dict(model=dict(tokenizer=settings)))
        return Job(f'{name}/pretrain', row['config'], options, f'iter_{steps}.pth', needs)

    def frozen_job(self, name: str, row: dict, checkpoint: Path | None, seed: int, dense: bool) -> Job:
        if row['encoder'] == 'teacher':
            return Job(name, 'teacher', {}, dense=dense)
        suffix, model, frozen = ENCODERS[row['encoder']]
        options = self.model_options(merge(model, dict(backbone=frozen)), checkpoint, seed)
        return Job(name, f'finetune{suffix}', options, needs=[checkpoint] if checkpoint else [], dense=dense)

    def finetuning_job(
        self, name: str, row: dict, checkpoint: Path | None, share: str, lr: float, seed: int, is_choice: bool = False
    ) -> Job:
        suffix, model, _ = ENCODERS[row['encoder']]
        settings = self.cfg.finetuning[share]
        options = merge(self.model_options(model, checkpoint, seed), self.schedule(settings['steps'], lr, seed))
        options['train_dataloader'] = dict(dataset=dict(step=settings['step']))
        if is_choice:  # scored on training images that 10 % of the labels do not include
            options['val_dataloader'] = dict(dataset=dict(data_prefix='train', step=10, offset=9))
        return Job(
            name, f'finetune{suffix}', options, f'iter_{settings["steps"]}.pth', [checkpoint] if checkpoint else []
        )

    def segmentation_job(self, name: str, row: dict, checkpoint: Path | None, seed: int) -> Job:
        suffix, model, _ = ENCODERS[row['encoder']]
        steps, lr = self.cfg.segmentation['steps'], self.cfg.segmentation['lr']
        options = merge(self.model_options(model, checkpoint, seed), self.schedule(steps, lr, seed))
        return Job(name, f'segment{suffix}', options, f'iter_{steps}.pth', [checkpoint] if checkpoint else [])

    def model_options(self, model: dict, checkpoint: Path | None, seed: int) -> dict:
        weights = {} if checkpoint is None else dict(backbone=dict(init_cfg=dict(checkpoint=str(checkpoint))))
        return dict(model=merge(model, weights), randomness=dict(seed=seed))

    def schedule(self, steps: int, lr: float, seed: int) -> dict:
        """The settings of a training of so many steps, with linear warm-up and cosine decay."""
        warmup = max(1, round(steps * self.cfg.warmup))
        cosine = dict(eta_min=1e-5, T_max=steps - warmup, by_epoch=False, begin=warmup, end=steps)
        return dict(
            optim_wrapper=dict(optimizer=dict(lr=lr)),
            param_scheduler=[
                dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=warmup),
                dict(type='CosineAnnealingLR', **cosine),
            ],
            train_cfg=dict(max_iters=steps, val_interval=steps),
            randomness=dict(seed=seed),
        )

    def config(self, job: Job) -> Config:
        """The config of a job, with the teacher of this study."""
        cfg = read_config(str(CONFIGS / f'{job.config}.py'))
        cfg.merge_from_dict(copy.deepcopy(self.cfg.changes.get(job.config, {})))
        cfg.merge_from_dict(copy.deepcopy(job.options))  # merging takes _delete_ away
        if self.teacher is not None:
            for key, value in walk_settings(cfg.to_dict()):
                if value == 'mmbeitv2.TimmTeacher':
                    cfg.merge_from_dict({f'{key.rpartition(".")[0]}.pretrained': self.teacher})
        return cfg


def settings_of(options: dict) -> dict[str, Any]:
    """Options by their full names, as a record holds them, with files by their place in the work dir."""
    flat = {
        key: value
        for key, value in walk_settings(json.loads(json.dumps(options)))
        if not isinstance(value, dict | list)
    }
    return {key: Path(str(value)).parts[-3:] if key.endswith('checkpoint') else value for key, value in flat.items()}


def with_more(lrs: list[float], best: Sequence[float | None], factor: float) -> list[float]:
    """Learning rates, with one more beyond the lowest or the highest if that is among the best."""
    return [*([lrs[0] / factor] if lrs[0] in best else []), *lrs, *([factor * lrs[-1]] if lrs[-1] in best else [])]


def held_out(result: dict) -> float:
    """The better of the two forms of features on held-out images."""
    return max(form['held_out'] for form in result['images'].values())


def top1(result: dict) -> float:
    """The accuracy of a fine-tuning."""
    return result['top1']


def merge(first: dict, second: dict) -> dict:
    """Both nested dictionaries in one; the second has the last word."""
    merged = dict(first)
    for key, value in second.items():
        inside = merged.get(key)
        merged[key] = merge(inside, value) if isinstance(inside, dict) and isinstance(value, dict) else value
    return merged
