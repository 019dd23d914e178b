"""The stages of the quickstart and their commands."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from mmengine.config import Config

import mmbeitv2
from demo.console import call, say, seeds_table, table
from demo.images import (
    LEAST_IMAGES,
    LEAST_LABELLED,
    Data,
    fingerprint,
    list_labeled,
    read_data,
    read_segmented,
    scaled,
)
from mmbeitv2.errors import InputError
from mmbeitv2.fileio import PARTIAL, AtomicBackend
from mmbeitv2.fileio.folders import claim_folder, remove_folder, require_claimable, require_own_place, require_removable
from mmbeitv2.fileio.locking import hold_folder
from mmbeitv2.inference.config import merge_options, read_config

# Name in the marks of the work dir and of the stages' folders.
TOOL = 'quickstart.sh'
# What tools/train.py and tools/test.py leave in a work dir, and the stage of the pictures in its folder.
_RUN = (
    '*.py',
    'epoch_*.pth',
    'iter_*.pth',
    'last_checkpoint',
    '.lock',
    'metrics.json',
    f'*{PARTIAL}',
    *(f'{"[0-9]" * 8}_{"[0-9]" * 6}/{file}' for file in ('*.log', '*.json', 'vis_data/*.json', 'vis_data/config.py')),
)
_WRITTEN = (*_RUN, *(f'test/{pattern}' for pattern in _RUN))
_PICTURES = ('index.html', *(f'{name}.png' for name in ('codebook', 'positions', 'usage', 'masks', 'segmentations')))
_PICTURES += ('overview.png', 'curves.png')


class Quickstart:
    """The stages, their order and their options.

    Nothing is made or deleted before :meth:`run`.

    Args:
        root: folder with ``configs`` and ``tools``.
        work_dir: for everything that is made.
        data: the user's images; None for the sample set.
        seg_data: the user's segmented images in ADE20K's layout; None for the sample set.
        seed: of all stages.
        shared_dir: folder of the stages up to pretraining, if several seeds share them.

    Raises:
        InputError: if there are no images, or the work dir holds anything that the quickstart did not write.
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
    # Stage -> what it must have left; of the others a checkpoint and metrics.json.
    RESULTS: ClassVar[dict[str, tuple[str, ...]]] = {
        'sample': ('imagenet/captions.tsv', 'imagenet/labeled.txt'),
        'teacher': ('small_clip.pth',),
        'pictures': _PICTURES,
    }

    def __init__(
        self,
        root: Path,
        work_dir: Path,
        data: Path | None = None,
        seg_data: Path | None = None,
        seed: int = 0,
        shared_dir: Path | None = None,
    ) -> None:
        self.root = root
        self.work_dir = work_dir.resolve()
        self.shared_dir = (shared_dir or work_dir).resolve()
        given = [folder for folder in (data, seg_data) if folder is not None]
        for folder in (self.shared_dir, self.work_dir):
            require_own_place(folder, keep=given)
            require_claimable(folder, TOOL)
        for name in self.STAGES:
            if name not in self.OWN_TOOL:
                require_removable(self.folder(name), TOOL, self.written(name))
        self.user_data = None if data is None else read_data(data.resolve())
        if self.user_data is not None and self.user_data.num_images < LEAST_IMAGES:
            raise InputError(
                f'{str(data)!r} has {self.user_data.num_images} training images, but the quickstart needs at least '
                f'{LEAST_IMAGES}. Add images.'
            )
        if self.user_data is not None and self.user_data.classes:
            num_labeled = len(list_labeled(self.user_data))
            if num_labeled < LEAST_LABELLED:
                raise InputError(
                    f'{str(data)!r} has class folders, and fine-tuning uses every fifth image of each class of train: '
                    f'{num_labeled} images, but it needs at least {LEAST_LABELLED}. Add images, or give a folder '
                    'without class folders.'
                )
        self.user_seg = None if seg_data is None else read_segmented(seg_data.resolve())
        self.inputs = []
        for given_data in (self.user_data, self.user_seg):
            if given_data is not None:
                self._require_outside(given_data.folders)
                self.inputs.append(fingerprint(given_data.folders))
        self.inputs.append(_code())
        self.seed = seed
        self.seconds: dict[str, float] = {}
        self.keys: dict[str, str] = {}

    def _require_outside(self, folders: Iterable[Path]) -> None:
        """Refuses a work dir among the images."""
        for folder in folders:
            if self.work_dir.is_relative_to(folder.resolve()):
                raise InputError(
                    f'--work-dir {str(self.work_dir)!r} lies inside the image folder {str(folder)!r}, so its '
                    'pictures would be taken for training images. Choose another --work-dir.'
                )

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
        hold_folder(self.shared_dir)
        claim_folder(self.work_dir, TOOL)
        for name in self.STAGES:
            if name != 'pictures' or self.shared_dir == self.work_dir:
                self._run_stage(name)
        summary = self.summary()
        write_json(self.work_dir / 'summary.json', summary)
        return summary

    def folder(self, name: str) -> Path:
        """Where a stage works."""
        return (self.shared_dir if name in self.SHARED else self.work_dir) / name

    @property
    def images(self) -> Data:
        """Images for tokenizer and pretraining."""
        return self.user_data or read_data(self.folder('sample') / 'imagenet')

    @property
    def labeled(self) -> Data:
        """Images for the teacher and fine-tuning: the user's if they have labels."""
        if self.user_data is not None and self.user_data.classes:
            return self.user_data
        return read_data(self.folder('sample') / 'imagenet')

    def checkpoint(self, name: str) -> Path:
        """Last checkpoint of a training stage; its folder may have been moved since."""
        return self.folder(name) / Path((self.folder(name) / 'last_checkpoint').read_text().strip()).name

    def metrics(self, name: str) -> dict[str, float]:
        """What tools/test.py found."""
        return json.loads((self.folder(name) / 'metrics.json').read_text())

    def _run_stage(self, name: str) -> None:
        folder = self.folder(name)
        config = self._config(name)
        settings = [name, self._seed(name), self.inputs, [self.keys[need] for need in self.STAGES[name]], config]
        self.keys[name] = key = hashlib.sha256(json.dumps(settings).encode(errors='surrogateescape')).hexdigest()
        done = folder.with_name(f'{name}.done.json')
        seconds = self._seconds_before(name, done, key)
        if seconds is not None:
            self.seconds[name] = seconds
            say(f'{name:17} {seconds:5.0f} s  (done before)')
            return
        done.unlink(missing_ok=True)
        if name not in self.OWN_TOOL:
            remove_folder(folder, TOOL, self.written(name))
            claim_folder(folder, TOOL)
        if config is not None:
            AtomicBackend().put_text(config, folder / f'{name}.py')
        start = time.monotonic()
        for command in self._commands(name):
            call(name, command, self.root, folder.with_name(f'{name}.log'), start)
        self.seconds[name] = time.monotonic() - start
        write_json(done, {'key': key, 'seconds': round(self.seconds[name], 1)})
        say(f'{name:17} {self.seconds[name]:5.0f} s')

    def _seconds_before(self, name: str, done: Path, key: str) -> float | None:
        """Seconds that a stage took if it was done with the same inputs and its results are there, else None."""
        try:
            record = json.loads(done.read_text())
            results = [self.folder(name) / result for result in self.RESULTS.get(name, ('metrics.json',))]
            if name not in self.RESULTS:
                results.append(self.checkpoint(name))
        except (OSError, ValueError):
            return None
        return record['seconds'] if record.get('key') == key and all(file.is_file() for file in results) else None

    def _seed(self, name: str) -> int:
        return 0 if name in self.SHARED else self.seed

    def _commands(self, name: str) -> Iterator[list[str]]:
        """The commands of a stage, each made when the one before it has ended."""
        folder = str(self.folder(name))
        if name == 'sample':
            yield ['-m', 'demo.sample_set', folder]
        elif name == 'teacher':
            data = self.labeled
            epochs = str(scaled(5, data))
            yield ['-m', 'demo.clip', str(data.root / data.train), folder, '--epochs', epochs]
        elif name == 'pictures':
            yield ['-m', 'demo.pictures', str(self.work_dir), '--out', folder]
        else:
            train, test = (str(self.root / 'tools' / tool) for tool in ('train.py', 'test.py'))
            config, metrics = f'{folder}/{name}.py', f'{folder}/metrics.json'
            yield [train, config, '--work-dir', folder]
            yield [test, config, str(self.checkpoint(name)), '--work-dir', f'{folder}/test', '--out', metrics]

    def _config(self, name: str) -> str | None:
        """The whole config of a training stage; None for the other stages."""
        path = self.root / 'demo' / 'configs' / 'quickstart' / f'{name}.py'
        if not path.is_file():
            return None
        cfg = read_config(str(path))
        settings = merge_options(cfg, self._options(name, cfg)).to_dict()
        return ''.join(f'{key} = {value!r}\n' for key, value in settings.items())

    def _options(self, name: str, cfg: Config) -> dict[str, object]:
        """What a stage changes in its config."""
        options: dict[str, object] = {'randomness.seed': self._seed(name)}
        if name.startswith('segment'):
            options |= self._segmented_options()
        else:
            data = self.labeled if name.startswith('finetune') else self.images
            for loader, prefix in (('train_dataloader', data.train), ('test_dataloader', data.val)):
                options[f'{loader}.dataset.data_root'] = str(data.root)
                options[f'{loader}.dataset.data_prefix'] = prefix
            options |= schedule(cfg, data)
            if name.startswith('finetune'):
                AtomicBackend().put_text(''.join(list_labeled(data)), self.work_dir / 'labeled.txt')
                options['train_dataloader.dataset.ann_file'] = str(self.work_dir / 'labeled.txt')
                options['model.head.num_classes'] = options['data_preprocessor.num_classes'] = len(data.classes)
        if name == 'tokenizer':
            options['model.teacher.pretrained'] = str(self.folder('teacher') / self.RESULTS['teacher'][0])
        if name == 'pretrain':
            options['model.tokenizer.init_cfg.checkpoint'] = str(self.checkpoint('tokenizer'))
        if name in ('finetune', 'segment'):
            options['model.backbone.init_cfg.checkpoint'] = str(self.checkpoint('pretrain'))
        return options

    def _segmented_options(self) -> dict[str, object]:
        """Where the segmented images are, and how many classes they have."""
        loaders = [f'{loader}.dataset' for loader in ('train_dataloader', 'test_dataloader')]
        if self.user_seg is None:
            return {f'{loader}.data_root': str(self.folder('sample') / 'ade20k') for loader in loaders}
        numbers = range(1, self.user_seg.num_classes + 1)
        options: dict[str, object] = {}
        for loader in loaders:
            options[f'{loader}.data_root'] = str(self.user_seg.root)
            options[f'{loader}.metainfo.classes'] = [f'class{i}' for i in numbers]
            options[f'{loader}.pipeline.2.num_classes'] = self.user_seg.num_classes
            options[f'{loader}.metainfo.palette'] = [[37 * i % 256, 91 * i % 256, 173 * i % 256] for i in numbers]
        options['model.decode_head.num_classes'] = self.user_seg.num_classes
        return options

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


def schedule(cfg: Config, data: Data) -> dict[str, object]:
    """Epochs for a set of another size than the sample set, so that a stage sees about as many images."""
    warmup, epochs = cfg.param_scheduler[0]['end'], cfg.train_cfg['max_epochs']
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


def write_json(path: Path, content: object) -> None:
    """Writes a file of JSON, whole or not at all."""
    AtomicBackend().put_text(json.dumps(content, indent=2) + '\n', path)


def _code() -> str:
    """Changes whenever this package does."""
    digest = hashlib.sha256()
    package = Path(mmbeitv2.__file__).parent
    for path in sorted(package.rglob('*.py')):
        digest.update(f'{path.relative_to(package)}\0'.encode() + path.read_bytes())
    return digest.hexdigest()


def run_quickstart(args: argparse.Namespace, root: Path) -> None:
    """Runs the quickstart, once or for several seeds, and shows the results.

    Args:
        args: options of ``tools/quickstart.py``.
        root: folder with ``configs`` and ``tools``.
    """
    seeds = args.seeds or [args.seed]
    if min(seeds) < 0:
        raise InputError(f'seed {min(seeds)} must not be negative')
    if args.seeds and len(set(seeds)) < 2:
        raise InputError('--seeds needs at least two different numbers. Use --seed for a single one.')
    folders = [args.work_dir / f'seed_{seed}' if args.seeds else args.work_dir for seed in seeds]
    runs = [
        Quickstart(root, folder, args.data, args.seg_data, seed, shared_dir=args.work_dir)
        for folder, seed in zip(folders, seeds, strict=True)
    ]
    if args.fresh:
        for run in runs:
            run.forget()
    if not args.seeds:
        summary = runs[0].run()
        say(f'\n{table(summary)}\n\npictures and summary.json are in {runs[0].work_dir}')
        return
    summaries = []
    for run in runs:
        say(f'seed {run.seed}')
        summaries.append(run.run())
    write_json(runs[0].shared_dir / 'summary_seeds.json', summaries)
    say('\n' + seeds_table(summaries))
