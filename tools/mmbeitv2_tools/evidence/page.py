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

# Readings of a row with one seed, by the name of its job.
READINGS: dict[str, Callable[[dict], float]] = {
    'k-NN': lambda results: chosen(results['frozen'])['knn'],
    'linear': lambda results: chosen(results['frozen'])['linear'],
    '1 %': lambda results: results['finetune_1']['top1'],
    '10 %': lambda results: results['finetune_10']['top1'],
    '100 %': lambda results: results['finetune_100']['top1'],
    'CamVid, frozen': lambda results: results['frozen']['camvid_linear'],
    'CamVid, fine-tuned': lambda results: results['segment']['mIoU'],
}
CLAIM_READINGS = ('linear', '10 %', 'CamVid, fine-tuned')


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
    """How far the study is: rows and seeds of which every reading is recorded."""
    jobs = ['frozen', *(f'finetune_{share}' for share in study.cfg.finetuning), 'segment']
    complete = [
        all(f'{name}/seed_{seed}/{job}' in study.records for job in jobs[: 1 if row.get('frozen_only') else None])
        for name, row in study.rows.items()
        for seed in range(row['seeds'])
    ]
    return (
        f'{sum(complete)} of {len(complete)} rows and seeds are complete. A dash, and a row that is missing, has not '
        'been run.'
    )


def started(study: Study, name: str) -> bool:
    """Whether anything of a row has been run."""
    return any(key.startswith(f'{name}/') for key in study.records)


def chosen(frozen: dict) -> dict[str, float]:
    """The scores of the CLS token or of the mean patch, whichever is better on held-out images."""
    return max(frozen['images'].values(), key=lambda form: form['held_out'])


def values(study: Study, name: str, reading: str) -> dict[int, float]:
    """What a reading gave, by seed."""
    found = {}
    for seed in range(study.rows[name]['seeds']):
        prefix = f'{name}/seed_{seed}/'
        results = {key[len(prefix) :]: study.result(key) for key in study.records if key.startswith(prefix)}
        try:
            found[seed] = READINGS[reading](results)
        except KeyError:
            continue
    return found


def seconds(study: Study, name: str, run: str = 'seed_0') -> float | None:
    """Seconds of a pretraining with its tokenizer."""
    row = study.rows[name]
    jobs = [f'{name}/{run}/pretrain'] if row.get('config') else []
    jobs += [f'tokenizers/{row["tokenizer"]}'] if row.get('tokenizer') else []
    found = [study.records[job]['seconds'] for job in jobs if 'seconds' in study.records.get(job, {})]
    return sum(found) if found and len(found) == len(jobs) else None


def budget(study: Study, name: str) -> list[tuple[float, float, float]]:
    """Share of the steps, seconds, and linear top-1 of a row's runs of different length, the shortest first."""
    lr = study.pretraining_lr(name)
    points = []
    for share, run in ((study.cfg.sweep_share, f'lr_{lr:g}' if lr else ''), (0.5, 'half'), (1.0, 'seed_0')):
        result, spent = study.result(f'{name}/{run}/frozen'), seconds(study, name, run)
        if result and spent:
            points.append((share, spent, chosen(result)['linear']))
    return points


def main_table(study: Study, preset: str) -> str:
    """One line for each row of the study."""
    curves = {name: budget(study, name) for name, row in study.rows.items() if row.get('curve')}
    complete = [points[-1][1] for points in curves.values() if points and points[-1][0] == 1]
    common = min(complete, default=None)
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
    for name, row in study.rows.items():
        if name in study.cfg.variants or not started(study, name):
            continue
        frozen = study.result(f'{name}/seed_0/frozen')
        form = max(frozen['images'], key=lambda key: frozen['images'][key]['held_out']) if frozen else '-'
        lr = study.pretraining_lr(row.get('lr_of', name))
        spent = seconds(study, name)
        lines.append(
            [
                row['title'],
                f'{lr:g}' if lr and row.get('config') else '-',
                {'cls': 'CLS', 'mean': 'mean patch'}.get(form, form),
                *(cell(values(study, name, reading)) for reading in READINGS),
                f'{spent:.0f}' if spent else '-',
                at_seconds(curves.get(name, []), common),
                f'[{name}](evidence/{preset}/{name}.json)',
            ]
        )
    return table(head, lines)


def at_seconds(points: list[tuple[float, float, float]], common: float | None) -> str:
    """Linear top-1 at so many seconds, interpolated between runs of different length."""
    if common is None or len(points) < 2 or not points[0][1] <= common <= points[-1][1]:
        return '-'
    for (_, early, low), (_, late, high) in pairwise(points):
        if early <= common <= late:
            return f'{low + (high - low) * (common - early) / (late - early):.1f}'
    return '-'


def claims_table(study: Study) -> str:
    """What each claim comes to: the margin of each reading, with its seeds."""
    lines = []
    for text, better, worse in study.cfg.claims:
        cells, verdicts = [], []
        for reading in CLAIM_READINGS:
            first, second = values(study, better, reading), values(study, worse, reading)
            margins = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
            cells.append(signed(margins))
            verdicts.append(verdict(margins))
        words = ', '.join(f'{key}: {value}' for key, value in zip(CLAIM_READINGS, verdicts, strict=True))
        if set(cells) != {'-'}:
            lines.append([text, *cells, words])
    head = ['claim', *(f'margin, {reading}' for reading in CLAIM_READINGS), 'verdict']
    return table(head, lines)


def verdict(margins: Sequence[float]) -> str:
    """Shown if every seed agrees and the mean is larger than the spread; turned round if so against it."""
    if len(margins) < 3:
        return 'open'
    if abs(mean(margins)) <= stdev(margins) or min(margins) <= 0 <= max(margins):
        return 'not shown'
    return 'shown' if mean(margins) > 0 else 'turned round'


def variants_table(study: Study, preset: str) -> str:
    """Tables 4 and 5 and quantizers: the tokenizer's own numbers, and what pretraining with it gives."""
    head = ['row', 'tokenizer loss', 'usage', 'perplexity', 'k-NN', 'linear', 'CamVid, frozen', 'records']
    lines = []
    for name in filter(lambda each: started(study, each), study.cfg.variants):
        row = study.rows[name]
        tokenizer = study.result(f'tokenizers/{row["tokenizer"]}') or {}
        keys = ('loss_reconstruction', 'codebook_usage', 'perplexity')
        own = [f'{tokenizer[key]:.4g}' if key in tokenizer else '-' for key in keys]
        readings = [cell(values(study, name, reading)) for reading in head[4:7]]
        lines.append([row['title'], *own, *readings, f'[{name}](evidence/{preset}/{name}.json)'])
    return table(head, lines)


def cell(found: dict[int, float]) -> str:
    """The mean, with the single seeds where there are several."""
    if not found:
        return '-'
    text = f'{mean(found.values()):.1f}'
    return text if len(found) == 1 else f'{text} ({", ".join(f"{value:.1f}" for value in found.values())})'


def signed(margins: Sequence[float]) -> str:
    """As :func:`cell`, with signs."""
    if not margins:
        return '-'
    return f'{mean(margins):+.1f} ({", ".join(f"{value:+.1f}" for value in margins)})'


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [head, ['---'] * len(head), *lines]
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def plot(study: Study) -> plt.Figure:
    """Linear top-1 of each row, a dot for each seed; and over the share of the steps."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout='constrained')
    names = [name for name in study.rows if values(study, name, 'linear') and name not in study.cfg.variants]
    for place, name in enumerate(reversed(names)):
        found = list(values(study, name, 'linear').values())
        left.barh(place, mean(found), color='0.85')
        left.plot(found, [place] * len(found), 'k.')
    left.set_yticks(range(len(names)), [study.rows[name]['title'] for name in reversed(names)])
    left.set_xlabel('linear probe, top-1 in %')
    for name in names:
        points = budget(study, name) if study.rows[name].get('curve') else []
        if len(points) > 1:
            right.plot(
                [share for share, *_ in points], [top1 for *_, top1 in points], 'o-', label=study.rows[name]['title']
            )
    right.set_xlabel('share of the steps')
    right.set_ylabel('linear probe, top-1 in %')
    if right.lines:
        right.legend()
    return figure
