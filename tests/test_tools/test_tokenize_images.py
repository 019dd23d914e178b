"""tools/tokenize_images.py, tools/visualize_codebook.py and tools/visualize_masks.py as a person runs them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from mmbeitv2.apis import VisualTokenizer, read_config
from tests.conftest import MASKED, ROOT, last_line, run, tiny_pretraining, tiny_tokenizer, tiny_vit

COMMAND = [sys.executable, 'tools/tokenize_images.py']


@pytest.fixture
def trained(tmp_path: Path) -> tuple[str, str]:
    """Config and checkpoint of a tokenizer."""
    (tmp_path / 'tokenizer.py').write_text(f'model = {tiny_tokenizer()!r}\n')
    torch.save({'state_dict': MODELS.build(tiny_tokenizer()).state_dict()}, tmp_path / 'tokenizer.pth')
    return str(tmp_path / 'tokenizer.py'), str(tmp_path / 'tokenizer.pth')


def options(trained: tuple[str, str], out: Path) -> list[str]:
    return ['--config', trained[0], '--checkpoint', trained[1], '--out', str(out), '--num-workers', '1']


def test_every_readable_image_is_tokenized_and_the_others_are_listed(
    tmp_path: Path, image_folder: Path, trained: tuple[str, str]
) -> None:
    (image_folder / 'cut.jpg').write_bytes((image_folder / 'cat/nested/0.jpg').read_bytes()[:500])
    (image_folder / 'notes.txt').write_text('no image')
    output = run(*COMMAND, str(image_folder), *options(trained, tmp_path / 'codes.npz'))
    assert '16 images, 4x4 codes each' in output
    assert re.search(r"1 images were left out:\nimage '.*/cut.jpg' cannot be read", output)
    with np.load(tmp_path / 'codes.npz') as content:
        paths, codes = content['paths'].tolist(), content['codes']
        assert content['num_codes'] == 16
    assert paths == sorted(f'{name}/nested/{i}.jpg' for name in ('cat', 'dog') for i in range(8))
    tokenizer = VisualTokenizer(read_config(trained[0]), trained[1])
    expected = tokenizer([image_folder / path for path in paths])
    assert np.array_equal(codes, expected.numpy())
    assert not (tmp_path / 'codes.npz.parts').exists()

    image = np.zeros((40, 40, 3), dtype=np.uint8)
    cv2.imwrite(str(image_folder / 'added.png'), image)
    output = run(*COMMAND, str(image_folder), *options(trained, tmp_path / 'codes.npz'))
    with np.load(tmp_path / 'codes.npz') as content:
        assert content['paths'].tolist() == ['added.png', *paths]
        assert np.array_equal(content['codes'][1:], codes)
    message = run(*COMMAND, str(image_folder), *options(trained, tmp_path / 'codes.npz'), '--fit', 'stretch', ok=False)
    assert 'remove it, or give another --out' in last_line(message)


def test_killed_it_goes_on_where_it_stopped(tmp_path: Path, image_folder: Path, trained: tuple[str, str]) -> None:
    script = (
        'import sys; sys.path[:0] = [".", "tools"]; import tokenize_images; tokenize_images.WRITE_EVERY = 0.0; '
        'import time; tokenize = tokenize_images.VisualTokenizer.tokenize; '
        'tokenize_images.VisualTokenizer.tokenize = lambda *args: (time.sleep(0.4), tokenize(*args))[1]; '
        'tokenize_images.main()'
    )
    arguments = [str(image_folder), *options(trained, tmp_path / 'codes.npz'), '--batch-size', '2']
    process = subprocess.Popen([sys.executable, '-c', script, *arguments], cwd=ROOT, stderr=subprocess.DEVNULL)
    parts = tmp_path / 'codes.npz.parts'
    deadline = time.monotonic() + 120
    while len(list(parts.glob('*.npz'))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / 'codes.npz').exists()
    done = [path for file in parts.glob('*.npz') for path in np.load(file)['paths'].tolist()]
    assert 4 <= len(done) < 16
    output = run(*COMMAND, *arguments)
    assert f'{len(done)}/16' in output  # the bar starts from what is done
    whole = tmp_path / 'whole.npz'
    run(*COMMAND, str(image_folder), *options(trained, whole))
    with np.load(whole) as expected, np.load(tmp_path / 'codes.npz') as content:
        assert np.array_equal(content['codes'], expected['codes'])
        assert content['paths'].tolist() == expected['paths'].tolist()


def test_bad_input_to_tokenize_images(tmp_path: Path, trained: tuple[str, str]) -> None:
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken' / '0.jpg').write_bytes(b'no image')
    out = tmp_path / 'out.npz'
    cases = [
        ([str(tmp_path / 'nowhere'), *options(trained, out)], 'nowhere. not found'),
        ([str(tmp_path / 'empty'), *options(trained, out)], 'holds no image'),
        ([str(tmp_path / 'broken'), *options(trained, out)], 'none of the 1 images'),
        ([str(tmp_path / 'broken'), *options(trained, tmp_path / 'out.txt')], 'must end in .npz'),
        ([str(tmp_path / 'broken'), *options((trained[0], 'none.pth'), out)], "checkpoint 'none.pth' not found"),
    ]
    for arguments, message in cases:
        output = run(*COMMAND, *arguments, ok=False)
        assert last_line(output).startswith('tokenize_images.py: error: ')
        assert message.replace('. ', "' ") in last_line(output) or message in last_line(output)
        assert 'Traceback' not in output
    assert not out.exists()


def test_codebook_is_drawn(tmp_path: Path, image_folder: Path, trained: tuple[str, str]) -> None:
    command = [sys.executable, 'tools/visualize_codebook.py', *trained, str(image_folder), '--out', str(tmp_path / 'o')]
    run(*command, '--most-used', '3', '--num-images', '9')
    page = (tmp_path / 'o' / 'index.html').read_text()
    assert '"numImages": 9' in page
    for name in ('codebook', 'usage', 'positions'):
        assert cv2.imread(str(tmp_path / 'o' / f'{name}.png')).std() > 1
    assert 'has the code(s) 99' in last_line(run(*command, '--codes', '99', ok=False))


def test_masks_are_drawn_with_pictures_from_codes(tmp_path: Path, image_folder: Path, trained: tuple[str, str]) -> None:
    pretraining = tiny_pretraining()
    (tmp_path / 'pretrain.py').write_text(
        f'model = {pretraining!r}\ntrain_dataloader = dict(dataset=dict(pipeline={MASKED!r}))\n'
    )
    torch.save(MODELS.build(pretraining).state_dict(), tmp_path / 'pretrain.pth')
    decoder = dict(
        type='mmbeitv2.PixelDecoder',
        tokenizer=tiny_tokenizer(),
        decoder=tiny_vit(img_size=4, patch_size=1, in_channels=8, out_type='featmap'),
    )
    (tmp_path / 'decoder.py').write_text(f'model = {decoder!r}\n')
    torch.save(MODELS.build(decoder).state_dict(), tmp_path / 'decoder.pth')
    command = [
        sys.executable,
        'tools/visualize_masks.py',
        str(tmp_path / 'pretrain.py'),
        str(tmp_path / 'pretrain.pth'),
    ]
    command += [str(image_folder), '--tokenizer', trained[1], '--num-images', '2']
    run(*command, '--out', str(tmp_path / 'masks.png'))
    pixels = ['--pixel-decoder', str(tmp_path / 'decoder.py'), str(tmp_path / 'decoder.pth')]
    run(*command, *pixels, '--out', str(tmp_path / 'pixels.png'))
    four, six = (cv2.imread(str(tmp_path / f'{name}.png')).shape[1] for name in ('masks', 'pixels'))
    assert six == pytest.approx(1.5 * four, abs=2)
    message = run(*command, '--out', str(tmp_path / 'm.png'), '--cfg-options', 'model.type=mmbeitv2.VQKD', ok=False)
    assert 'give that of a pretraining' in last_line(message)
