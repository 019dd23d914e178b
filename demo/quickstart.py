"""The stages of the quickstart and their commands."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from demo.images import Data, list_labeled, read_data, scaled
from mmbeitv2 import __version__
from mmbeitv2.engine.resuming import last_checkpoint
from mmbeitv2.errors import InputError
from mmbeitv2.fileio import AtomicBackend
from mmbeitv2.fileio.folders import claim_folder, require_claimable
from mmbeitv2.fileio.locking import hold_folder
from mmbeitv2.fileio.outputs import write_json
from mmbeitv2.inference.config import merge_options, read_config

# Name in the mark of the work dir.
TOOL = 'quickstart.sh'
_EVERY = 20  # seconds between two lines that tell how far a stage is


class Stage(NamedTuple):
    """A stage of the quickstart."""

    needs: tuple[str, ...]  # the stages whose results it uses
    is_shared: bool = False  # whether several seeds have it in common
    module: str = ''  # of its command; '' for a training by tools/train.py and tools/test.py


# In the order in which they run.
STAGES = {
    'sample': Stage((), True, 'demo.sample_set'),
    'teacher': Stage(('sample',), True, 'demo.clip'),
    'tokenizer': Stage(('teacher',), is_shared=True),
    'pretrain': Stage(('tokenizer',), is_shared=True),
    'finetune': Stage(('pretrain',)),
    'finetune_scratch': Stage(('sample',)),
    'segment': Stage(('pretrain',)),
    'segment_scratch': Stage(('sample',)),
    'pictures': Stage(('finetune', 'segment', 'segment_scratch'), module='demo.pictures'),
}
# Number of the summary -> stage and its metric.
SCORES = {
    'codebook_usage': ('tokenizer', 'tokenizer/codebook_usage'),
    'perplexity': ('tokenizer', 'tokenizer/perplexity'),
    'reconstruction_loss': ('tokenizer', 'tokenizer/reconstruction_loss'),
    'mim_accuracy': ('pretrain', 'mim/accuracy'),
    'mim_accuracy_chance': ('pretrain', 'mim/chance'),
    'mim_accuracy_majority': ('pretrain', 'mim/majority'),
    'top1_pretrained': ('finetune', 'accuracy/top1'),
    'top1_scratch': ('finetune_scratch', 'accuracy/top1'),
    'miou_pretrained': ('segment', 'mIoU'),
    'miou_scratch': ('segment_scratch', 'mIoU'),
}


class Quickstart:
    """The quickstart with one seed. Nothing is written before :meth:`run`, and nothing is deleted but records.

    Args:
        root: folder with ``configs``, ``demo`` and ``tools``.
        work_dir: for everything that is made.
        data: the user's images; None for the sample set, from which the segmentation always comes.
        seed: of all stages.
        shared_dir: folder of the stages up to pretraining, if several seeds share them.

    Raises:
        InputError: if there are too few images, or the work dir holds anything that the quickstart did not write.
    """

    def __init__(
        self, root: Path, work_dir: Path, data: Path | None = None, seed: int = 0, shared_dir: Path | None = None
    ) -> None:
        self.root, self.seed = root, seed
        self.work_dir, self.shared_dir = work_dir.resolve(), (shared_dir or work_dir).resolve()
        for folder in (self.shared_dir, self.work_dir):
            require_claimable(folder, TOOL)
        self.user_data = None if data is None else read_data(data.resolve())
        if data is not None and self.work_dir.is_relative_to(data.resolve()):
            raise InputError(
                f'--work-dir {str(self.work_dir)!r} lies inside the image folder {str(data)!r}, so its pictures would '
                'be taken for training images. Choose another --work-dir.'
            )
        self.seconds: dict[str, float] = {}
        self.keys: dict[str, str] = {}

    def run(self) -> dict:
        """Runs what is not done yet; the summary, which is also written to ``summary.json``."""
        claim_folder(self.shared_dir, TOOL)
        hold_folder(self.shared_dir)
        claim_folder(self.work_dir, TOOL)
        for name in STAGES:
            if name != 'pictures' or self.shared_dir == self.work_dir:
                self._run_stage(name)
        summary: dict = {}
        for key, (name, metric) in SCORES.items():
            summary[key] = json.loads((self.folder(name) / 'metrics.json').read_text())[metric]
        summary |= {'seed': self.seed, 'seconds': self.seconds}
        write_json(self.work_dir / 'summary.json', summary)
        return summary

    def folder(self, name: str) -> Path:
        """Where a stage works."""
        return (self.shared_dir if STAGES[name].is_shared else self.work_dir) / name

    def _images(self, is_labeled: bool) -> Data:
        """The user's images if there are any, labeled ones where that is needed, else the sample set."""
        if self.user_data is not None and (self.user_data.classes or not is_labeled):
            return self.user_data
        return read_data(self.folder('sample') / 'imagenet')

    def _run_stage(self, name: str) -> None:
        folder, config = self.folder(name), self._config(name)
        record = folder.with_name(f'{name}.done.json')
        needed = [self.keys[need] for need in STAGES[name].needs]
        settings = [__version__, name, self._seed(name), self.user_data, needed, config]
        self.keys[name] = key = hashlib.sha256(repr(settings).encode()).hexdigest()
        done = json.loads(record.read_text()) if record.is_file() else {}
        if done.get('key') == key:
            self.seconds[name] = done['seconds']
            say(f'{name:17} {self.seconds[name]:5.0f} s  (done before)')
            return
        record.unlink(missing_ok=True)
        folder.mkdir(exist_ok=True)
        if config:
            AtomicBackend().put_text(config, folder / f'{name}.py')
        start = time.monotonic()
        for command in self._commands(name):
            call(name, command, self.root, folder.with_name(f'{name}.log'), start)
        self.seconds[name] = round(time.monotonic() - start, 1)
        write_json(record, {'key': key, 'seconds': self.seconds[name]})
        say(f'{name:17} {self.seconds[name]:5.0f} s')

    def _seed(self, name: str) -> int:
        return 0 if STAGES[name].is_shared else self.seed

    def _commands(self, name: str) -> Iterator[list[str]]:
        """The commands of a stage, each made when the one before it has ended."""
        folder, module = str(self.folder(name)), STAGES[name].module
        if name == 'teacher':
            data = self._images(is_labeled=True)
            yield ['-m', module, str(data.root / data.train), folder, '--epochs', str(scaled(5, data))]
        elif name == 'pictures':
            yield ['-m', module, str(self.work_dir), '--out', folder]
        elif module:
            yield ['-m', module, folder]
        else:
            train, test = (str(self.root / 'tools' / tool) for tool in ('train.py', 'test.py'))
            config, metrics = f'{folder}/{name}.py', f'{folder}/metrics.json'
            yield [train, config, '--work-dir', folder]
            checkpoint = str(last_checkpoint(self.folder(name)))
            yield [test, config, checkpoint, '--work-dir', f'{folder}/test', '--out', metrics]

    def _config(self, name: str) -> str:
        """The whole config of a training stage; '' for the other stages."""
        if STAGES[name].module:
            return ''
        cfg = read_config(str(self.root / 'demo' / 'configs' / 'quickstart' / f'{name}.py'))
        settings = merge_options(cfg, self._options(name, cfg)).to_dict()
        return ''.join(f'{key} = {value!r}\n' for key, value in settings.items())

    def _options(self, name: str, cfg: Config) -> dict[str, object]:
        """What a stage changes in its config."""
        options: dict[str, object] = {'randomness.seed': self._seed(name)}
        if name.startswith('segment'):
            for loader in ('train_dataloader', 'test_dataloader'):
                options[f'{loader}.dataset.data_root'] = str(self.folder('sample') / 'ade20k')
        else:
            data = self._images(is_labeled=name.startswith('finetune'))
            for loader, prefix in (('train_dataloader', data.train), ('test_dataloader', data.val)):
                options |= {f'{loader}.dataset.data_root': str(data.root), f'{loader}.dataset.data_prefix': prefix}
            options |= schedule(cfg, data)
            if name.startswith('finetune'):
                AtomicBackend().put_text(''.join(list_labeled(data)), self.work_dir / 'labeled.txt')
                options['train_dataloader.dataset.ann_file'] = str(self.work_dir / 'labeled.txt')
                options['model.head.num_classes'] = options['data_preprocessor.num_classes'] = len(data.classes)
        if name == 'tokenizer':
            options['model.teacher.pretrained'] = str(self.folder('teacher') / 'small_clip.pth')
        if name == 'pretrain':
            options['model.tokenizer.init_cfg.checkpoint'] = str(last_checkpoint(self.folder('tokenizer')))
        if name in ('finetune', 'segment'):
            options['model.backbone.init_cfg.checkpoint'] = str(last_checkpoint(self.folder('pretrain')))
        return options


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


def call(stage: str, command: list[str], folder: Path, log: Path, start: float) -> None:
    """Runs a Python command, its output into a log file, and shows now and then how far it is.

    Args:
        stage: its name, for the screen.
        command: arguments of Python.
        folder: to run in.
        log: file to which the output is added.
        start: ``time.monotonic()`` at the start of the stage.

    Raises:
        InputError: with the command's own last sentence if it fails.
    """
    with (
        log.open('a') as stream,
        subprocess.Popen([sys.executable, *command], cwd=folder, stdout=stream, stderr=stream) as process,
    ):
        try:
            while process.poll() is None:
                try:
                    process.wait(_EVERY)
                except subprocess.TimeoutExpired:
                    say(f'{stage:17} {time.monotonic() - start:5.0f} s  {progress(log)}')
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        reason = log.read_text(errors='replace').strip().rpartition('\n')[2].rpartition(': error: ')[2]
        raise InputError(f'stage {stage} failed: {reason} (log: {str(log)!r})')


def progress(log: Path) -> str:
    """The last line of a log that tells of training, without date and logger."""
    lines = re.findall(r'(?:Epoch\(|Iter\(|epoch ).*', log.read_text(errors='replace'))
    return ' '.join(lines[-1].split())[:80] if lines else ''


def say(text: str) -> None:
    sys.stdout.write(text + '\n')
    sys.stdout.flush()


def table(summary: dict) -> str:
    """The summary for a person."""
    text = """\
codebook usage              {codebook_usage:5.1f} %   reconstruction loss {reconstruction_loss:.3f} (1 - cosine)
masked-token accuracy       {mim_accuracy:5.1f} %   chance {mim_accuracy_chance:.1f} %, always the most frequent code \
{mim_accuracy_majority:.1f} %
classification, top-1       {top1_pretrained:5.1f} %   from scratch {top1_scratch:.1f} %
segmentation, mIoU          {miou_pretrained:5.1f} %   from scratch {miou_scratch:.1f} %
time                        {total:5.0f} s   without the installation"""
    return text.format(**summary, total=sum(summary['seconds'].values()))


def seeds_table(summaries: list[dict]) -> str:
    """Mean and standard deviation over seeds."""
    lines = []
    for key in [key for key in summaries[0] if key not in ('seed', 'seconds')]:
        values = [summary[key] for summary in summaries]
        all_of_them = '  '.join(f'{value:.3f}' for value in values)
        lines.append(f'{key:22}{statistics.mean(values):8.3f} ± {statistics.stdev(values):.3f}   {all_of_them}')
    return '\n'.join(lines)


def run_quickstart(args: argparse.Namespace, root: Path) -> None:
    """Runs the quickstart, once or for several seeds, and shows the results.

    Args:
        args: options of ``tools/quickstart.py``.
        root: folder with ``configs``, ``demo`` and ``tools``.
    """
    if args.seeds and (len(set(args.seeds)) < 2 or min(args.seeds) < 0):
        raise InputError('--seeds needs at least two different numbers, and none below 0')
    runs = []
    for seed in args.seeds or [0]:
        folder = args.work_dir / f'seed_{seed}' if args.seeds else args.work_dir
        runs.append(Quickstart(root, folder, args.data, seed, shared_dir=args.work_dir))
    summaries = []
    for run in runs:
        if args.seeds:
            say(f'seed {run.seed}')
        summaries.append(run.run())
    if args.seeds:
        write_json(runs[0].shared_dir / 'summary_seeds.json', summaries)
        say('\n' + seeds_table(summaries))
    else:
        say(f'\n{table(summaries[0])}\n\npictures and summary.json are in {runs[0].work_dir}')
