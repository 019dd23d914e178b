"""Runs the jobs of a study as processes, several at once."""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from mmbeitv2.fileio.atomic import write_atomically
from mmbeitv2_tools.evidence.study import ROOT, Job, Study

_LOG_POINTS = 20


def run_study(study: Study, only: list[str], num_jobs: int, minutes: float | None) -> list[str]:
    """Runs what is missing, and returns the names of the jobs that failed.

    Args:
        study: the study.
        only: beginnings of names: those jobs run, in this order; all run if there is none.
        num_jobs: processes at once, one thread each on a CPU.
        minutes: after which the running ones are stopped; they continue where they were when the study is run again.
    """
    commit = commit_of(ROOT)
    deadline = time.monotonic() + 60 * (math.inf if minutes is None else minutes)
    running: dict[str, tuple[Job, subprocess.Popen]] = {}
    failed: list[str] = []
    try:
        while time.monotonic() < deadline:
            for name, (job, process) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[name]
                if process.returncode == 0:
                    study.save(job, record_of(study, job, commit))
                else:
                    failed.append(name)
                ending = 'failed, see log.txt' if process.returncode else 'done'
                sys.stdout.write(f'{datetime.now():%H:%M} {name}: {ending}\n')
                sys.stdout.flush()
            for job in open_jobs(study, only, {*running, *failed}):
                if len(running) == num_jobs:
                    break
                running[job.name] = job, start(study, job, num_jobs)
            if not running:
                break
            time.sleep(1)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.wait()
    return failed


def commit_of(root: Path) -> str:
    """The commit of a checkout, with ``-dirty`` if files have changed outside docs, where the records are."""
    git = ['git', '-C', str(root)]
    named = subprocess.run([*git, 'rev-parse', '--short=12', 'HEAD'], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, 'diff', '--quiet', 'HEAD', '--', '.', ':!docs'], check=False).returncode
    return f'{named.stdout.strip()}{"-dirty" if changed else ""}'


def open_jobs(study: Study, only: list[str], known: set[str]) -> Iterator[Job]:
    """Jobs that are neither recorded nor known and whose files are there. A recorded job whose file is gone runs again,
    if an open one needs it."""
    jobs = {job.name: job for job in study.jobs()}
    owners = {study.file(job): job for job in jobs.values() if job.checkpoint}
    wanted = [job for part in only or [''] for job in jobs.values() if job.name.startswith(part)]
    wanted = [job for job in wanted if job.name not in study.records]
    seen = set(known)
    while wanted:
        job = wanted.pop(0)
        if job.name in seen:
            continue
        missing = [owners[path] for path in job.needs if not path.exists()]
        if missing:
            wanted = missing + wanted
            continue
        seen.add(job.name)
        yield job


def start(study: Study, job: Job, num_jobs: int) -> subprocess.Popen:
    """Starts the process of a job in its folder."""
    folder, settings = study.work / job.name, study.config(job)
    config, text = folder / 'config.py', settings.pretty_text
    changed = config.exists() and without_additions(config.read_text()) != without_additions(text)
    # A training that was stopped between its last checkpoint and its validation would not validate when it is resumed.
    stopped = settings.get('val_dataloader') and (folder / str(job.checkpoint)).exists()
    if changed or (stopped and not {'top1', 'mIoU'} & record_of(study, job, '')['result'].keys()):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(config, text.encode())
    if job.checkpoint is None:
        module = ['-m', 'mmbeitv2_tools.evidence.readings', str(config), '--json', str(folder / 'scores.json')]
        command = [*module, '--bank-step', str(study.cfg.bank_step), '--camvid', study.cfg.camvid]
        command += ['--dense'] if job.dense else []
    else:
        command = [str(ROOT / 'tools/train.py'), str(config), '--work-dir', str(folder), '--resume']
    paths = [str(ROOT), str(ROOT / 'tools'), *filter(None, [os.environ.get('PYTHONPATH')])]
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}
    if num_jobs > 1:
        environment['OMP_NUM_THREADS'] = '1'
    with (folder / 'log.txt').open('a') as log:
        return subprocess.Popen([sys.executable, *command], stdout=log, stderr=subprocess.STDOUT, env=environment)


def without_additions(config: str) -> list[str]:
    """The lines of a config without those that mmengine adds when it writes the config of a run into its folder."""
    return [line for line in config.splitlines() if not line.startswith(('launcher = ', 'work_dir = '))]


def record_of(study: Study, job: Job, commit: str) -> dict:
    """What a finished job leaves: how it was run, what it gave, seconds, and points of its log."""
    record: dict = dict(config=job.config, options=job.options, commit=commit)
    record['date'] = f'{datetime.now(timezone.utc):%Y-%m-%d}'
    folder = study.work / job.name
    if job.checkpoint is None:
        return {**record, 'result': json.loads((folder / 'scores.json').read_text())}
    lines = []
    for file in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in file.read_text().splitlines():
            with suppress(ValueError):  # the last line of a job that was killed
                lines.append(json.loads(line))
    training = {line['iter']: line for line in lines if 'iter' in line}  # by step; a resumed run repeats some
    steps = sorted(training)
    if steps:  # the median, because other work on the machine slows some steps down
        record['seconds'] = round(steps[-1] * statistics.median(training[step][study.cfg.clock] for step in steps))
    keys = ('loss', 'acc_mim', 'codebook_usage', 'perplexity')
    shown = sorted({*steps[:: max(1, len(steps) // _LOG_POINTS)], *steps[-1:]})
    record['log'] = [
        {'step': step, **{key: round(training[step][key], 4) for key in keys if key in training[step]}}
        for step in shown
    ]
    record['result'] = {}
    for line in lines:
        if 'accuracy/top1' in line:
            record['result'] = {'top1': line['accuracy/top1']}
        elif 'mIoU' in line:
            record['result'] = {'mIoU': line['mIoU']}
    last = training[steps[-1]] if steps else {}
    record['result'] |= {key: last[key] for key in ('loss_reconstruction', *keys[1:]) if key in last}
    return record
