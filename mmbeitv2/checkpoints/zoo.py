"""The published models, by name: what ``model-index.yml`` and the metafiles of the configs list."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import filter as matching
from functools import cache
from pathlib import Path

import yaml

import mmbeitv2
from mmbeitv2.errors import InputError

SCHEME = 'mmbeitv2://'


@dataclass(frozen=True)
class PublishedModel:
    """A published file of weights.

    Attributes:
        name: in this zoo.
        description: what it is.
        weights: its address.
        config: path of the config here that describes its network.
        source: where address and results are stated.
        format: format of the names of its weights, see ``FORMATS`` of :mod:`mmbeitv2.checkpoints`, or ``mmseg``.
        results: published metrics, by data set.
    """

    name: str
    description: str
    weights: str
    config: str
    source: str
    format: str
    results: dict[str, dict[str, float]]


def list_models(pattern: str = '*') -> list[str]:
    """Names of the published models.

    Args:
        pattern: with ``*`` and ``?`` as in file names; the end of a name may be left out.
    """
    return sorted(matching(_models(), f'{pattern}*'))


def describe_model(name: str) -> PublishedModel:
    """The entry of a published model.

    Raises:
        InputError: if there is no model of this name; suggests the closest names.
    """
    models = _models()
    name = name.removeprefix(SCHEME)
    if name not in models:
        near = list_models(f'*{name}')[:3] or get_close_matches(name, models, 3)
        remedy = f'Did you mean {" or ".join(map(repr, near))}?' if near else 'mmbeitv2.apis.list_models() names all'
        raise InputError(f'there is no published model {name!r}. {remedy}')
    return models[name]


def is_published(name: str) -> bool:
    """Whether this is the name of a published model, not a file or an address."""
    return name.startswith(SCHEME) or (name in _models() and not Path(name).exists())


@cache
def _models() -> dict[str, PublishedModel]:
    root = Path(mmbeitv2.FILES)
    index = yaml.safe_load((root / 'model-index.yml').read_text(encoding='utf-8'))
    entries = [
        entry
        for file in index['Import']
        for entry in yaml.safe_load((root / file).read_text(encoding='utf-8'))['Models']
    ]
    return {
        entry['Name']: PublishedModel(
            name=entry['Name'],
            description=entry['Description'],
            weights=entry['Weights'],
            config=str(root / entry['Config']),
            source=entry['Source'],
            format=entry['Metadata']['Format'],
            results={result['Dataset']: result['Metrics'] for result in entry.get('Results', [])},
        )
        for entry in entries
    }
