"""From nothing to a segmentation result at small scale: every stage of BEiT v2 on the built-in sample set.

Sample set, teacher, tokenizer, pretraining, fine-tuning and segmentation, the last two also from scratch as controls,
all through tools/train.py and tools/test.py. Ends with a table, and leaves pictures and summary.json in the work dir.
What is done is kept: run again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mmbeitv2.datasets.image_folder import IMAGE_EXTENSIONS
from mmbeitv2.errors import InputError, one_sentence_errors
from mmbeitv2.fileio.folders import (
    claim_folder,
    remove_folder,
    require_claimable,
    require_own_place,
    require_removable,
)

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs' / 'quickstart'
# Images of the built-in set, for which the epochs in the configs are made.
SAMPLE_IMAGES = 6000
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


@dataclass
class Data:
    """Where images come from, and what is known of them.

    Attributes:
        root: folder with ``train`` and ``val``.
        train: folder of the training images in it.
        val: folder of the validation images in it.
        classes: names of the class folders; empty if the images have no labels.
        num_images: training images.
    """

    root: Path
    train: str
    val: str
    classes: list[str]
    num_images: int


def read_data(root: Path) -> Data:
    """Looks at a folder: ``train`` and ``val`` with class folders, or any folder of images.

    Raises:
        InputError: if there is no image.
    """
    if not root.is_dir():
        raise InputError(f'image folder {str(root)!r} not found: give an existing one by --data DIR')
    has_splits = (root / 'train').is_dir() and (root / 'val').is_dir()
    train = root / 'train' if has_splits else root
    num_images = sum(path.suffix.lower() in IMAGE_EXTENSIONS for path in train.rglob('*'))
    if num_images == 0:
        raise InputError(
            f'image folder {str(train)!r} holds no image ({", ".join(IMAGE_EXTENSIONS)}): give another folder by '
            '--data DIR'
        )
    classes = sorted(path.name for path in train.iterdir() if path.is_dir()) if has_splits else []
    if has_splits and classes != sorted(path.name for path in (root / 'val').iterdir() if path.is_dir()):
        raise InputError(f'{str(root)!r} has other class folders in train than in val: make them the same')
    return Data(
        root,
        'train' if has_splits else '',
        'val' if has_splits else '',
        classes if len(classes) > 1 else [],
        num_images,
    )


def write_labelled(data: Data, out: Path, share: int = 5) -> None:
    """Lists every ``share``-th training image of each class with its label: what fine-tuning may see."""
    lines = []
    for label, name in enumerate(data.classes):
        files = sorted(
            path for path in (data.root / data.train / name).rglob('*') if path.suffix.lower() in IMAGE_EXTENSIONS
        )
        lines += [f'{path.relative_to(data.root / data.train)} {label}\n' for path in files[::share]]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(''.join(lines))


def count_classes(root: Path) -> int:
    """Number of classes of a folder in ADE20K's layout, 0 being unlabelled.

    Raises:
        InputError: if a part of the layout is missing.
    """
    import cv2

    for kind in ('images', 'annotations'):
        for split in ('training', 'validation'):
            if not (root / kind / split).is_dir():
                raise InputError(
                    f'folder {str(root / kind / split)!r} not found: --seg-data wants the layout of ADE20K'
                )
    files = sorted((root / 'annotations' / 'training').glob('*.png'))
    if not files:
        raise InputError(f'folder {str(root / "annotations" / "training")!r} holds no .png annotation: put some there')
    largest = 0
    for path in files:
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if labels is None:
            raise InputError(f'annotation {str(path)!r} cannot be read: mend or remove it')
        largest = max(largest, int(labels.max()))
    return largest


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
            yield ['-m', 'mmbeitv2.datasets.sample', str(self.folder('sample'))]
        elif name == 'teacher':
            data = self.labelled
            yield [
                'tools/train_sample_clip.py',
                str(data.root / data.train),
                str(self.folder('teacher')),
                '--epochs',
                str(scaled(5, data)),
            ]
        elif name == 'pictures':
            yield ['tools/quickstart_pictures.py', str(self.work_dir), '--out', str(self.folder('pictures'))]
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


def scaled(epochs: int, data: Data) -> int:
    """Epochs in which a set shows about as many images as the sample set in ``epochs``."""
    return max(1, round(epochs * SAMPLE_IMAGES / data.num_images))


def call(name: str, command: list[str], log: Path, start: float) -> None:
    """Runs a command, its output into a log file, and shows how far it is.

    Raises:
        InputError: with the command's own last sentence if it fails.
    """
    is_terminal = sys.stdout.isatty()
    shown = start
    with log.open('a') as stream:
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                time.sleep(0.5)
                if time.monotonic() - shown >= (1 if is_terminal else 20):
                    shown = time.monotonic()
                    line = f'{name:17} {shown - start:5.0f} s  {progress(log)}'
                    say(f'\r{line[:110]:110}' if is_terminal else line, end='' if is_terminal else '\n')
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if is_terminal:
        say('\r' + ' ' * 110 + '\r', end='')
    if process.returncode:
        lines = [line for line in log.read_text(errors='replace').splitlines() if line.strip()]
        raise InputError(f'stage {name} failed: {lines[-1].strip() if lines else "no output"} (see {log})')


def progress(log: Path) -> str:
    """The last line of a log that tells of training, without date and logger."""
    with log.open('rb') as stream:
        stream.seek(max(0, log.stat().st_size - 4000))
        lines = stream.read().decode(errors='replace').splitlines()
    for line in reversed(lines):
        if any(word in line for word in ('Epoch(', 'Iter(', 'epoch ')):
            return ' '.join(line.rpartition(' - INFO - ')[2].split())
    return ''


def say(text: str, end: str = '\n') -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


def table(summary: dict) -> str:
    """The summary for a person."""
    rows = [
        (
            'codebook usage',
            f'{summary["codebook_usage"]:.1f} %',
            f'reconstruction loss {summary["reconstruction_loss"]:.3f} (1 - cosine)',
        ),
        (
            'masked-token accuracy',
            f'{summary["mim_accuracy"]:.1f} %',
            f'chance {summary["mim_accuracy_chance"]:.1f} %, always the commonest code '
            f'{summary["mim_accuracy_majority"]:.1f} %',
        ),
        (
            'classification, top-1',
            f'{summary["top1_pretrained"]:.1f} %',
            f'from scratch {summary["top1_scratch"]:.1f} %',
        ),
        ('segmentation, mIoU', f'{summary["miou_pretrained"]:.1f} %', f'from scratch {summary["miou_scratch"]:.1f} %'),
        ('time', f'{sum(summary["seconds"].values()):.0f} s', 'without the installation'),
    ]
    return '\n'.join(f'{name:24}{value:>9}   {note}' for name, value, note in rows)


def seeds_table(summaries: list[dict]) -> str:
    """Mean and standard deviation over seeds."""
    lines = []
    for key in (
        'codebook_usage',
        'reconstruction_loss',
        'mim_accuracy',
        'top1_pretrained',
        'top1_scratch',
        'miou_pretrained',
        'miou_scratch',
    ):
        values = [summary[key] for summary in summaries]
        lines.append(
            f'{key:22}{statistics.mean(values):8.3f} ± {statistics.stdev(values):.3f}   '
            f'{"  ".join(f"{value:.3f}" for value in values)}'
        )
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='quickstart.sh', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--data',
        type=Path,
        metavar='DIR',
        help='your images instead of the sample set: a folder, or one with train/CLASS and val/CLASS',
    )
    parser.add_argument(
        '--seg-data', type=Path, metavar='DIR', help="your segmented images, in ADE20K's layout (0 is unlabelled)"
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/quickstart'),
        help='folder for all results (default: %(default)s)',
    )
    parser.add_argument('--fresh', action='store_true', help='start over')
    parser.add_argument('--seed', type=int, default=0, help='of all stages (default: %(default)s)')
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        metavar='SEED',
        help='one pretraining, then fine-tuning, segmentation and their controls with each seed: mean and deviation',
    )
    args = parser.parse_args()
    with one_sentence_errors('quickstart.sh'):
        if args.seeds and len(set(args.seeds)) < 2:
            raise InputError('--seeds wants two different numbers or more: for one use --seed')
        seeds = args.seeds or [args.seed]
        runs = [
            Quickstart(
                args.work_dir / f'seed_{seed}' if args.seeds else args.work_dir,
                args.data,
                args.seg_data,
                seed,
                shared_dir=args.work_dir,
            )
            for seed in seeds
        ]
        for run in runs:
            run.check_folders()
        if args.fresh:
            for run in runs:
                run.forget()
        if not args.seeds:
            say(f'\n{table(runs[0].run())}\n\npictures and summary.json are in {args.work_dir}')
            return
        summaries = []
        for run in runs:
            say(f'seed {run.seed}')
            summaries.append(run.run())
        (args.work_dir / 'summary_seeds.json').write_text(json.dumps(summaries, indent=2) + '\n')
        say('\n' + seeds_table(summaries))


if __name__ == '__main__':
    main()
