"""The stages of the quickstart, and what each of them runs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from mmbeitv2.demo.console import call, say
from mmbeitv2.demo.images import Data, count_classes, read_data, scaled, write_labelled
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.folders import (
    claim_folder,
    remove_folder,
    require_claimable,
    require_own_place,
    require_removable,
)

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs' / 'quickstart'
# Name in the marks of the work dir and of the stages' folders.
TOOL = 'quickstart.sh'
# What tools/train.py and tools/test.py leave in a work dir, and the stage of the pictures in its folder.
_RUN = (
    '*.py',
    'epoch_*.pth',
    'iter_*.pth',
    'last_checkpoint',
    'metrics.json',
    '*.tmp',
    *(f'{"[0-9]" * 8}_{"[0-9]" * 6}/{file}' for file in ('*.log', 'vis_data/*.json', 'vis_data/config.py')),
)
_WRITTEN = (*_RUN, *(f'test/{pattern}' for pattern in _RUN))
_PICTURES = ('index.html', *(f'{name}.png' for name in ('codebook', 'positions', 'usage', 'masks', 'segmentations')))
_PICTURES += ('curves.png',)


class Quickstart:
    """The stages, their order, and what each of them is told.

    Args:
        work_dir: for everything that is made.
        data: the user's images; None for the sample set.
        seg_data: the user's segmented images in ADE20K's layout; None for the sample set.
        seed: of all stages.
        shared_dir: folder of the stages up to pretraining, if several seeds share them.
    """

    # Stage -> the stages whose results it uses, in the order in which they run.
    STAGES: ClassVar[dict[str, list[str]]] = {
        'sample': [],
        'teacher': ['sample'],
        'tokenizer': ['teacher'],
        'pretrain': ['tokenizer'],
        'finetune': ['pretrain'],
        'finetune_scratch': ['sample'],
        'segment': ['pretrain'],
        'segment_scratch': ['sample'],
        'pictures': ['finetune', 'finetune_scratch', 'segment', 'segment_scratch'],
    }
    # Stages that several seeds have in common.
    SHARED = ('sample', 'teacher', 'tokenizer', 'pretrain')
    # Stages whose tool replaces its folder itself, and only by a complete one.
    OWN_TOOL = ('sample', 'teacher')

    def __init__(
        self,
        work_dir: Path,
        data: Path | None = None,
        seg_data: Path | None = None,
        seed: int = 0,
        shared_dir: Path | None = None,
    ) -> None:
        self.work_dir = work_dir.resolve()
        self.shared_dir = (shared_dir or work_dir).resolve()
        self.data, self.seg_data = data, seg_data
        self.user_data = None if data is None else read_data(data.absolute())
        self.user_seg = None if seg_data is None else (seg_data.absolute(), count_classes(seg_data))
        self.seed = seed
        self.seconds: dict[str, float] = {}
        self.keys: dict[str, str] = {}

    def check_folders(self) -> None:
        """Refuses folders that hold anything that the quickstart did not write, before anything is made or deleted.

        Raises:
            InputError: naming the folder and its first entries.
        """
        for folder in (self.shared_dir, self.work_dir):
            require_own_place(folder, keep=[data for data in (self.data, self.seg_data) if data is not None])
            require_claimable(folder, TOOL)
        if self.user_data is not None:
            images = (self.user_data.root / self.user_data.train).resolve()
            if self.shared_dir.is_relative_to(images):
                raise InputError(
                    f'--work-dir {str(self.shared_dir)!r} lies inside the images {str(images)!r}, so its pictures '
                    'would be taken for images: give another --work-dir'
                )
        for name in self.STAGES:
            if name not in self.OWN_TOOL:
                require_removable(self.folder(name), TOOL, self.written(name))

    def forget(self) -> None:
        """Makes every stage run again; its folder is replaced when its turn comes."""
        for name in self.STAGES:
            self.folder(name).with_name(f'{name}.done.json').unlink(missing_ok=True)

    @staticmethod
    def written(name: str) -> tuple[str, ...]:
        """What a stage writes."""
        return _PICTURES if name == 'pictures' else _WRITTEN

    def run(self) -> dict:
        """Runs what is not done yet; the summary, which is also written to ``summary.json``."""
        claim_folder(self.shared_dir, TOOL)
        claim_folder(self.work_dir, TOOL)
        for name in self.STAGES:
            if name != 'pictures' or self.shared_dir == self.work_dir:
                self._run_stage(name)
        summary = self.summary()
        (self.work_dir / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
        return summary

    def folder(self, name: str) -> Path:
        """Where a stage works."""
        return (self.shared_dir if name in self.SHARED else self.work_dir) / name

    @property
    def images(self) -> Data:
        """Images for tokenizer and pretraining."""
        return self.user_data or read_data(self.folder('sample') / 'imagenet')

    @property
    def labelled(self) -> Data:
        """Images for the teacher and fine-tuning: the user's if they have labels."""
        if self.user_data is not None and self.user_data.classes:
            return self.user_data
        return read_data(self.folder('sample') / 'imagenet')

    def checkpoint(self, name: str) -> Path:
        """Last checkpoint of a training stage."""
        return Path((self.folder(name) / 'last_checkpoint').read_text().strip())

    def metrics(self, name: str) -> dict[str, float]:
        """What tools/test.py found."""
        return json.loads((self.folder(name) / 'metrics.json').read_text())

    def _run_stage(self, name: str) -> None:
        folder = self.folder(name)
        seed = 0 if name in self.SHARED else self.seed
        settings = [
            name,
            seed,
            str(self.user_data),
            str(self.user_seg),
            [self.keys[need] for need in self.STAGES[name]],
        ]
        if (CONFIGS / f'{name}.py').is_file():
            settings.append((CONFIGS / f'{name}.py').read_text())
        self.keys[name] = key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
        done = folder.with_name(f'{name}.done.json')
        if done.is_file() and folder.is_dir():
            record = json.loads(done.read_text())
            if record['key'] == key:
                self.seconds[name] = record['seconds']
                say(f'{name:17} {record["seconds"]:5.0f} s  (done before)')
                return
        done.unlink(missing_ok=True)
        if name not in self.OWN_TOOL:
            remove_folder(folder, TOOL, self.written(name))
            claim_folder(folder, TOOL)
        start = time.monotonic()
        for command in self._commands(name):
            call(name, command, folder.with_name(f'{name}.log'), start)
        self.seconds[name] = time.monotonic() - start
        done.write_text(json.dumps({'key': key, 'seconds': round(self.seconds[name], 1)}))
        say(f'{name:17} {self.seconds[name]:5.0f} s')

    def _commands(self, name: str) -> Iterator[list[str]]:
        """The commands of a stage, each made when the one before it has ended."""
        if name == 'sample':
            yield ['-m', 'mmbeitv2.demo.sample_set', str(self.folder('sample'))]
        elif name == 'teacher':
            data = self.labelled
            yield [
                '-m',
                'mmbeitv2.demo.clip',
                str(data.root / data.train),
                str(self.folder('teacher')),
                '--epochs',
                str(scaled(5, data)),
            ]
        elif name == 'pictures':
            yield ['-m', 'mmbeitv2.demo.pictures', str(self.work_dir), '--out', str(self.folder('pictures'))]
        else:
            config, options = str(CONFIGS / f'{name}.py'), ['--cfg-options', *self._options(name)]
            yield ['tools/train.py', config, '--work-dir', str(self.folder(name)), *options]
            yield [
                'tools/test.py',
                config,
                str(self.checkpoint(name)),
                '--work-dir',
                str(self.folder(name) / 'test'),
                '--out',
                str(self.folder(name) / 'metrics.json'),
                *options,
            ]

    def _options(self, name: str) -> list[str]:
        """What a stage changes in its config."""
        options: dict[str, object] = {'randomness.seed': 0 if name in self.SHARED else self.seed}
        if name.startswith('segment'):
            root = self.folder('sample') / 'ade20k'
            if self.user_seg is not None:
                root, num_classes = self.user_seg
                names = [f'class{i}' for i in range(1, num_classes + 1)]
                palette = [[37 * i % 256, 91 * i % 256, 173 * i % 256] for i in range(1, num_classes + 1)]
                options |= {f'model.{head}.num_classes': num_classes for head in ('decode_head', 'auxiliary_head')}
                for loader in ('train_dataloader', 'test_dataloader'):
                    options |= {
                        f'{loader}.dataset.metainfo.classes': names,
                        f'{loader}.dataset.metainfo.palette': palette,
                    }
            options |= {f'{loader}.dataset.data_root': root for loader in ('train_dataloader', 'test_dataloader')}
        else:
            data = self.labelled if name.startswith('finetune') else self.images
            options |= {
                'train_dataloader.dataset.data_root': data.root,
                'train_dataloader.dataset.data_prefix': data.train,
            }
            options |= {'test_dataloader.dataset.data_root': data.root, 'test_dataloader.dataset.data_prefix': data.val}
            options |= self._schedule(name, data)
            if name.startswith('finetune'):
                write_labelled(data, self.work_dir / 'labelled.txt')
                options['train_dataloader.dataset.ann_file'] = self.work_dir / 'labelled.txt'
                options |= {
                    'model.head.num_classes': len(data.classes),
                    'data_preprocessor.num_classes': len(data.classes),
                }
        if name == 'tokenizer':
            options['model.teacher.model'] = f'local-dir:{self.folder("teacher")}'
        if name == 'pretrain':
            options['model.tokenizer.init_cfg.checkpoint'] = self.checkpoint('tokenizer')
        if name in ('finetune', 'segment'):
            options['model.backbone.init_cfg.checkpoint'] = self.checkpoint('pretrain')
        return [f'{key}={json.dumps(value) if isinstance(value, list) else value}' for key, value in options.items()]

    @staticmethod
    def _schedule(name: str, data: Data) -> dict[str, object]:
        """Epochs for a set of another size than the sample set, so that a stage sees about as many images."""
        from mmengine.config import Config

        config = Config.fromfile(str(CONFIGS / f'{name}.py'))
        warmup, epochs = config.param_scheduler[0]['end'], config.train_cfg['max_epochs']
        total = scaled(epochs, data)
        if total == epochs:
            return {}
        start = warmup * total / epochs
        return {
            'train_cfg.max_epochs': total,
            'param_scheduler.0.end': start,
            'param_scheduler.1.begin': start,
            'param_scheduler.1.end': total,
            'param_scheduler.1.T_max': total - start,
        }

    def summary(self) -> dict:
        """The numbers of all stages."""
        tokenizer, pretrain = self.metrics('tokenizer'), self.metrics('pretrain')
        return {
            'codebook_usage': tokenizer['tokenizer/codebook_usage'],
            'perplexity': tokenizer['tokenizer/perplexity'],
            'reconstruction_loss': tokenizer['tokenizer/reconstruction_loss'],
            'mim_accuracy': pretrain['mim/accuracy'],
            'mim_accuracy_chance': pretrain['mim/chance'],
            'mim_accuracy_majority': pretrain['mim/majority'],
            'top1_pretrained': self.metrics('finetune')['accuracy/top1'],
            'top1_scratch': self.metrics('finetune_scratch')['accuracy/top1'],
            'miou_pretrained': self.metrics('segment')['mIoU'],
            'miou_scratch': self.metrics('segment_scratch')['mIoU'],
            'seed': self.seed,
            'seconds': {name: round(value, 1) for name, value in self.seconds.items()},
        }
