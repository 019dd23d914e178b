"""Tables and plots of a study, written into docs/evidence.md between two marks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

import matplotlib.pyplot as plt

from mmbeitv2.errors import InputError
from mmbeitv2.fileio.atomic import open_atomically, write_atomically
from mmbeitv2_tools.evidence.study import Study

# Readings of a run.
READINGS: dict[str, Callable[[dict], float]] = {
    'k-NN': lambda results: best_form(results['frozen'])[1]['knn'],
    'linear': lambda results: best_form(results['frozen'])[1]['linear'],
    '1 %': lambda results: results['finetune_1']['top1'],
    '10 %': lambda results: results['finetune_10']['top1'],
    '100 %': lambda results: results['finetune_100']['top1'],
    'CamVid, frozen': lambda results: results['frozen']['camvid_linear'],
    'CamVid, fine-tuned': lambda results: results['segment']['mIoU'],
}
SEED_READINGS = ('linear', '10 %', 'CamVid, frozen')
CLAIM_READINGS = ('linear', '10 %', 'CamVid, fine-tuned')
T_OF_THREE = 4.303  # of Student's t with two degrees of freedom
BASE = 'beitv2'  # the row that the variants change


def around_tables(page: Path, preset: str) -> tuple[str, str]:
    """What stands before and after the tables of a preset, with the marks between which they stand.

    Raises:
        InputError: if the page has no such marks.
    """
    begin, end = f'<!-- evidence {preset}: begin -->', f'<!-- evidence {preset}: end -->'
    before, found, rest = (page.read_text() if page.exists() else '').partition(begin)
    if end not in rest:
        raise InputError(f'{str(page)!r} has no lines {begin!r} and {end!r}. Put them where the tables should stand.')
    return before + found, rest[rest.index(end) :]


def write_page(study: Study, docs: Path, preset: str) -> None:
    """Writes what the records say into ``evidence.md`` and a picture below ``images``."""
    page = docs / 'evidence.md'
    before, after = around_tables(page, preset)
    parts = [
        f'By `python tools/evidence.py --preset {preset}`; {progress(study)}',
        main_table(study, preset),
        f'![linear probe of each row, and over the budget](images/evidence_{preset}.png)',
        claims_table(study),
        variants_table(study, preset),
    ]
    with open_atomically(docs / 'images' / f'evidence_{preset}.png') as stream:
        plot(study).savefig(stream, dpi=110)
    write_atomically(page, '\n\n'.join([before, *parts, after]).encode())


def progress(study: Study) -> str:
    """How far the study is: runs of which every reading is recorded."""
    complete = [
        all(f'{name}/{key}/{reading}' in study.records for reading in ('frozen', *run.readings))
        for name in study.rows
        for key, run in study.runs(name).items()
    ]
    return f'{sum(complete)} of {len(complete)} runs are complete. What is missing is not complete.'


def started(study: Study, name: str) -> bool:
    """Whether anything of a row has been run that stays, whatever learning rate is chosen."""
    return not study.is_pending(name) and any(key.startswith(f'{name}/') for key in study.records)


def best_form(frozen: dict) -> tuple[str, dict[str, float]]:
    """The CLS token or the mean patch, whichever is better on held-out images, and its scores."""
    return max(frozen['images'].items(), key=lambda form: form[1]['held_out'])


def value(study: Study, name: str, run: str, reading: str) -> float | None:
    """What a reading of a run gave; nothing as long as the learning rate of the row may change."""
    if study.is_pending(name):
        return None
    prefix = f'{name}/{run}/'
    results = {key.removeprefix(prefix): study.result(key) for key in study.records if key.startswith(prefix)}
    try:
        return READINGS[reading](results)
    except KeyError:
        return None


def full_value(study: Study, name: str, reading: str) -> float | None:
    """What a reading gave after all of the steps, or without any."""
    run = study.main_run(name)
    return value(study, name, run, reading) if study.runs(name)[run].share == 1 else None


def seed_values(study: Study, name: str, reading: str) -> dict[int, float]:
    """What a reading gave, by seed."""
    runs = {run.seed: key for key, run in study.runs(name).items() if key != 'full'}
    found = {seed: value(study, name, key, reading) for seed, key in runs.items()}
    return {seed: each for seed, each in found.items() if each is not None}


def seconds(study: Study, name: str, run: str) -> float | None:
    """Seconds of a pretraining with its tokenizer."""
    row = study.rows[name]
    jobs = [f'{name}/{run}/pretrain'] if row.get('config') else []
    jobs += [f'tokenizers/{row["tokenizer"]}'] if row.get('tokenizer') else []
    found = [study.records[job]['seconds'] for job in jobs if 'seconds' in study.records.get(job, {})]
    return sum(found) if found and len(found) == len(jobs) else None


def budget(study: Study, name: str) -> list[tuple[float, float, float]]:
    """Share of the steps, seconds, and linear top-1 of a row's runs of different length, the shortest first. Of several
    seeds, top-1 is the mean."""
    lr, half = study.pretraining_lr(name), seed_values(study, name, 'linear')
    first = f'lr_{lr:g}' if lr else ''
    points = [
        (study.cfg.sweep_share, seconds(study, name, first), value(study, name, first, 'linear')),
        (study.cfg.seed_share, seconds(study, name, study.first_seed(name)), mean(half.values()) if half else None),
        (1.0, seconds(study, name, 'full'), value(study, name, 'full', 'linear')),
    ]
    return [(share, spent, top1) for share, spent, top1 in points if spent is not None and top1 is not None]


def main_table(study: Study, preset: str) -> str:
    """One line for each row of the study."""
    common = seconds(study, BASE, study.first_seed(BASE))
    head = [
        'pretraining',
        'lr',
        'read from',
        *READINGS,
        'seconds',
        f'linear at {common} s' if common else 'linear at equal seconds',
        'records',
    ]
    lines = []
    for name in filter(lambda each: started(study, each), study.cfg.rows):
        row = study.rows[name]
        run = study.main_run(name)
        frozen = study.result(f'{name}/{run}/frozen')
        form = best_form(frozen)[0] if frozen else '-'
        lr = study.pretraining_lr(name)
        spent = seconds(study, name, run)
        readings = [value(study, name, run, reading) for reading in READINGS]
        lines.append(
            [
                row['title'],
                f'{lr:g}' if lr and row.get('config') else '-',
                {'cls': 'CLS', 'mean': 'mean patch'}.get(form, form),
                *('-' if each is None else f'{each:.1f}' for each in readings),
                f'{spent:.0f}' if spent else '-',
                at_seconds(budget(study, name), common),
                f'[{name}](evidence/{preset}/{name}.json)',
            ]
        )
    return table(head, lines)


def at_seconds(points: list[tuple[float, float, float]], common: float | None) -> str:
    """Linear top-1 after so many seconds, interpolated between runs of different length; after all of the steps, if
    they take less."""
    if common is None or len(points) < 2 or points[0][1] > common or points[-1][0] < 1:
        return '-'
    for (_, early, low), (_, late, high) in pairwise(points):
        if early <= common <= late:
            return f'{low + (high - low) * (common - early) / (late - early):.1f}'
    return f'{points[-1][2]:.1f} ({points[-1][1]:.0f} s)'


def claims_table(study: Study) -> str:
    """What each claim comes to: margins of the readings of each seed, and of the runs of all steps."""
    lines = []
    for text, better, worse in study.cfg.claims:
        cells, verdicts = [], []
        for reading in SEED_READINGS:
            first, second = seed_values(study, better, reading), seed_values(study, worse, reading)
            margins = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
            cells.append(cell(margins, '+.1f'))
            verdicts.append(f'{reading}: {verdict(margins)}')
        for reading in CLAIM_READINGS:
            one, other = (full_value(study, name, reading) for name in (better, worse))
            cells.append('-' if one is None or other is None else f'{one - other:+.1f}')
        if set(cells) != {'-'}:
            lines.append([text, *cells, ', '.join(verdicts)])
    head = ['claim', *SEED_READINGS, *(f'all steps: {reading}' for reading in CLAIM_READINGS), 'verdict']
    return table(head, lines)


def verdict(margins: Sequence[float]) -> str:
    """Shown if the mean of three margins differs from 0 by a t-test at 5 %, two-sided; turned round if it is below."""
    if len(margins) < 3:
        return 'open'
    if abs(mean(margins)) <= T_OF_THREE * stdev(margins) / 3**0.5:
        return 'not shown'
    return 'shown' if mean(margins) > 0 else 'turned round'


def variants_table(study: Study, preset: str) -> str:
    """Parts of BEiT v2 replaced in turn: the tokenizer's own numbers, and what pretraining with it gives."""
    readings = ('k-NN', 'linear', '10 %', 'CamVid, frozen')
    lines = []
    for name in filter(lambda each: started(study, each), (BASE, *study.cfg.variants)):
        row = study.rows[name]
        tokenizer = study.result(f'tokenizers/{row["tokenizer"]}') or {}
        keys = ('loss_reconstruction', 'codebook_usage', 'perplexity')
        own = [f'{tokenizer[key]:.4g}' if key in tokenizer else '-' for key in keys]
        cells = [cell(list(seed_values(study, name, reading).values())) for reading in readings]
        lr = study.pretraining_lr(name)
        lines.append([row['title'], f'{lr:g}' if lr else '-', *own, *cells, f'[{name}](evidence/{preset}/{name}.json)'])
    return table(['row', 'lr', 'tokenizer loss', 'usage', 'perplexity', *readings, 'records'], lines)


def cell(found: Sequence[float], form: str = '.1f') -> str:
    """The mean, with the single seeds where there are several."""
    if not found:
        return '-'
    text = f'{mean(found):{form}}'
    return text if len(found) == 1 else f'{text} ({", ".join(f"{each:{form}}" for each in found)})'


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [head, ['---'] * len(head), *lines]
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def plot(study: Study) -> plt.Figure:
    """Linear top-1 of each row after all of the steps, with a dot for each seed at the share of the seeds; and over the
    share of the steps."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout='constrained')
    scores = {
        name: value(study, name, study.main_run(name), 'linear') for name in study.cfg.rows if started(study, name)
    }
    names = [name for name, score in scores.items() if score is not None]
    for place, name in enumerate(reversed(names)):
        found = list(seed_values(study, name, 'linear').values())
        left.barh(place, scores[name], color='0.85')
        left.plot(found, [place] * len(found), 'k.')
    left.set_yticks(range(len(names)), [study.rows[name]['title'] for name in reversed(names)])
    left.set_xlabel(f'linear probe, top-1 in % (dots: seeds at {study.cfg.seed_share:g} of the steps)')
    for name in study.cfg.rows:
        points = budget(study, name)
        if len(points) > 1:
            shares, _, top1 = zip(*points, strict=True)
            (line,) = right.plot(shares, top1, '-', label=study.rows[name]['title'])
            right.plot(shares, top1, 'o', color=line.get_color())
    right.set_xlabel('share of the steps')
    right.set_ylabel('linear probe, top-1 in %')
    if right.lines:
        figure.legend(loc='outside lower center', ncols=3)
    return figure
