"""Tools that take a folder of images take a folder of shards, and give the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import refused, run_tool, shards_of


@pytest.fixture
def shards(image_folder: Path) -> Path:
    return shards_of(image_folder)


def test_codes_reports_and_pictures_of_shards_are_those_of_the_folder(
    tmp_path: Path, image_folder: Path, shards: Path, tokenizer: tuple[str, str], pretrained: tuple[str, str]
) -> None:
    labels = tmp_path / 'labels'
    for image in image_folder.rglob('*.jpg'):
        path = (labels / image.relative_to(image_folder)).with_suffix('.png')
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(len(str(path))).integers(0, 3, (40, 48), dtype=np.uint8)).save(path)
    own = ('--config', tokenizer[0], '--checkpoint', tokenizer[1])
    found = []
    for folder in (image_folder, shards):
        numbers = {}
        for name, arguments in {
            'channel_statistics': (str(folder),),
            'probe_features': (*pretrained, '--bank', str(folder), '--query', str(folder), '--num-workers', '0'),
            'judge_tokenizer': (*tokenizer, str(folder), '--labels', str(labels)),
        }.items():
            run_tool(name, *arguments, '--json', str(tmp_path / 'numbers.json'))
            numbers[name] = json.loads((tmp_path / 'numbers.json').read_text())
        del numbers['judge_tokenizer']['images']
        codes = tmp_path / f'{folder.name}.npz'
        for _ in range(2):  # the second time from what the first has written
            run_tool('tokenize_images', str(folder), '--out', str(codes), '--num-workers', '0', *own)
        with np.load(codes) as content:
            numbers['codes'] = {key: content[key].tolist() for key in ('paths', 'codes', 'size')}
        assert len(numbers['codes']['paths']) == 16
        for name, arguments in {
            'visualize_masks': (*pretrained, str(folder), '--tokenizer', tokenizer[1]),
            'visualize_patch_pca': (str(folder), '--configs', pretrained[0], '--checkpoints', pretrained[1]),
        }.items():
            run_tool(name, *arguments, '--num-images', '2', '--out', str(tmp_path / f'{name}.png'))
            numbers[name] = np.asarray(Image.open(tmp_path / f'{name}.png')).tolist()
        found.append(numbers)
    assert found[0] == found[1]


def test_a_tool_that_needs_files_says_so_of_shards(tmp_path: Path, shards: Path, capsys: pytest.CaptureFixture) -> None:
    message = refused(capsys, 'make_shards', str(shards), str(tmp_path / 'out'))
    assert f'{str(shards)!r} is a folder of shards, but image files are needed here' in message
    (shards / 'index.npz').write_bytes(b'')
    assert "index.npz' is damaged" in refused(capsys, 'channel_statistics', str(shards))
