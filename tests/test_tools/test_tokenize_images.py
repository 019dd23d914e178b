"""tools/tokenize_images.py, tools/visualize_codebook.py and tools/visualize_masks.py."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import MODELS

from mmbeitv2.apis import VisualTokenizer, read_config
from mmbeitv2.inference import tokenizing
from tests.conftest import MASKED, refused, run_tool, tiny_pretraining, tiny_tokenizer, tiny_vit


@pytest.fixture
def trained(tmp_path: Path) -> tuple[str, str]:
    """Config and checkpoint of a tokenizer."""
    return write_tokenizer(tmp_path / 'tokenizer')


def write_tokenizer(name: Path) -> tuple[str, str]:
    config, checkpoint = name.with_suffix('.py'), name.with_suffix('.pth')
    config.write_text(f'model = {tiny_tokenizer()!r}\n')
    torch.save({'state_dict': MODELS.build(tiny_tokenizer()).state_dict()}, checkpoint)
    return str(config), str(checkpoint)


def options(trained: tuple[str, str], out: Path) -> list[str]:
    return ['--config', trained[0], '--checkpoint', trained[1], '--out', str(out), '--num-workers', '0']


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as content:
        return dict(zip(content['paths'].tolist(), content['codes'], strict=True))


def expected(trained: tuple[str, str], folder: Path) -> dict[str, np.ndarray]:
    """The codes by the tokenizer itself."""
    paths = sorted(str(path.relative_to(folder)) for path in folder.rglob('*.jpg'))
    codes = VisualTokenizer(read_config(trained[0]), trained[1])([folder / path for path in paths])
    return dict(zip(paths, codes.numpy(), strict=True))


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert list(found) == list(wanted)
    assert all(np.array_equal(found[path], wanted[path]) for path in wanted)


def test_every_readable_image_is_tokenized_and_the_others_are_listed(
    tmp_path: Path, image_folder: Path, trained: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    wanted = expected(trained, image_folder)
    assert len(wanted) == 16
    (image_folder / 'cut.jpg').write_bytes((image_folder / 'cat/nested/0.jpg').read_bytes()[:500])
    (image_folder / 'notes.txt').write_text('no image')
    run_tool('tokenize_images', str(image_folder), *options(trained, tmp_path / 'codes.npz'), '--num-workers', '1')
    output = capsys.readouterr().out
    assert '16 images, 4x4 codes each' in output
    assert re.search(r"1 images were left out:\n.*cut.jpg'", output)
    assert_same(read(tmp_path / 'codes.npz'), wanted)
    with np.load(tmp_path / 'codes.npz') as content:
        assert content['num_codes'] == 16
    assert not (tmp_path / 'codes.npz.partial').exists()


def test_run_again_it_tokenizes_only_what_is_new_or_has_changed(
    tmp_path: Path,
    image_folder: Path,
    trained: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = [str(image_folder), *options(trained, tmp_path / 'codes.npz')]
    run_tool('tokenize_images', *command)
    read_images: list[str] = []
    prepare = VisualTokenizer.prepare
    monkeypatch.setattr(
        VisualTokenizer, 'prepare', lambda self, path: (read_images.append(path), prepare(self, path))[1]
    )
    cv2.imwrite(str(image_folder / 'new.jpg'), np.zeros((40, 40, 3), dtype=np.uint8))
    cv2.imwrite(str(image_folder / 'cat/nested/3.jpg'), np.zeros((40, 40, 3), dtype=np.uint8))
    (image_folder / 'dog/nested/5.jpg').unlink()
    run_tool('tokenize_images', *command)
    assert sorted(map(os.path.basename, read_images)) == ['3.jpg', 'new.jpg']
    assert_same(read(tmp_path / 'codes.npz'), expected(trained, image_folder))


def test_codes_of_another_folder_are_never_mixed_in(
    tmp_path: Path, image_folder: Path, trained: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'codes.npz'
    run_tool('tokenize_images', str(image_folder), *options(trained, out))
    before = out.read_bytes()
    other = tmp_path / 'other'
    shutil.copytree(image_folder, other)
    message = refused(capsys, 'tokenize_images', str(other), *options(trained, out))
    assert 'were made with another tokenizer, folder or setting (different: image folder)' in message
    assert out.read_bytes() == before


def test_codes_of_another_tokenizer_or_setting_are_never_mixed_in(
    tmp_path: Path, image_folder: Path, trained: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'codes.npz'
    run_tool('tokenize_images', str(image_folder), *options(trained, out))
    before = read(out)
    (tmp_path / 'same').mkdir()
    same_name = write_tokenizer(tmp_path / 'same' / 'tokenizer')  # and same size, but other weights
    changes = [
        ([*options(same_name, out)], '(different: weights)'),
        ([*options(trained, out), '--fit', 'stretch'], '(different: fit)'),
        ([*options(trained, out), '--cfg-options', 'model.encoder.arch.num_heads=4'], '(different: settings)'),
    ]
    for arguments, message in changes:
        assert message in refused(capsys, 'tokenize_images', str(image_folder), *arguments)
    renamed = tmp_path / 'renamed.pth'
    shutil.copy(trained[1], renamed)  # the same tokenizer under another name
    run_tool('tokenize_images', str(image_folder), *options((trained[0], str(renamed)), out))
    assert_same(read(out), before)


def test_ended_in_the_middle_it_goes_on_where_it_stopped(
    tmp_path: Path,
    image_folder: Path,
    trained: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    tokenize, calls = VisualTokenizer.tokenize, []

    def fail_at_the_third(self: VisualTokenizer, prepared: torch.Tensor) -> torch.Tensor:
        calls.append(len(prepared))
        if len(calls) == 3:
            assert len(read(tmp_path / 'codes.npz.partial')) == 2 * 3  # what a kill would leave
            raise KeyboardInterrupt
        return tokenize(self, prepared)

    monkeypatch.setattr(VisualTokenizer, 'tokenize', fail_at_the_third)
    monkeypatch.setattr(tokenizing, '_SAVE_EVERY', -1)
    command = [str(image_folder), *options(trained, tmp_path / 'codes.npz'), '--batch-size', '3']
    with pytest.raises(SystemExit):
        run_tool('tokenize_images', *command)
    assert not (tmp_path / 'codes.npz').exists()
    capsys.readouterr()
    run_tool('tokenize_images', *command)
    assert sum(calls[3:]) == 16 - 2 * 3
    assert '6/16' in capsys.readouterr().err  # the bar starts from what is done
    assert_same(read(tmp_path / 'codes.npz'), expected(trained, image_folder))
    assert not (tmp_path / 'codes.npz.partial').exists()


def test_bad_input_to_tokenize_images(
    tmp_path: Path, image_folder: Path, trained: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'broken').mkdir()
    (tmp_path / 'broken' / '0.jpg').write_bytes(b'no image')
    (tmp_path / 'broken.npz').write_bytes(b'no codes')
    (tmp_path / 'mine.npz.partial').write_text('of the user')
    out = tmp_path / 'out.npz'
    images = str(image_folder)
    cases = [
        ([str(tmp_path / 'nowhere'), *options(trained, out)], "nowhere' not found"),
        ([str(tmp_path / 'empty'), *options(trained, out)], 'holds no images'),
        ([str(tmp_path / 'broken'), *options(trained, out)], 'none of the 1 images'),
        ([images, *options(trained, tmp_path / 'out.txt')], 'must end in .npz'),
        ([images, *options(trained, Path(trained[0]) / 'out.npz')], 'Choose another path'),
        ([images, *options(trained, tmp_path / 'broken.npz')], "broken.npz' is damaged, or was not written"),
        ([images, *options(trained, tmp_path / 'mine.npz')], "mine.npz.partial' is damaged, or was not written"),
        ([images, *options((trained[0], 'none.pth'), out)], 'none.pth'),
    ]
    for arguments, message in cases:
        assert message in refused(capsys, 'tokenize_images', *arguments)
    for arguments in (['--batch-size', '0'], ['--num-workers', '-1'], ['--device', 'gpu']):
        message = refused(capsys, 'tokenize_images', images, *options(trained, out), *arguments, code=2)
        assert f'argument {arguments[0]}' in message
    assert not out.exists()


def test_codebook_is_drawn(
    tmp_path: Path, image_folder: Path, trained: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'o'
    command = ['visualize_codebook', *trained, str(image_folder), '--out', str(out)]
    for _ in range(2):  # the second time it writes over its own files
        run_tool(*command, '--most-used', '30', '--num-images', '9')
    assert '9 images' in capsys.readouterr().out
    assert ' of 9 images' in (out / 'index.html').read_text()
    for name in ('codebook', 'usage', 'positions'):
        assert cv2.imread(str(out / f'{name}.png')).std() > 1
    assert 'has the code(s) 99' in refused(capsys, *command, '--codes', '99')
    run_tool(*command, '--num-images', '99')
    assert '16 images' in capsys.readouterr().out


def test_bad_input_to_visualize_codebook(
    tmp_path: Path, image_folder: Path, trained: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    command = ['visualize_codebook', *trained, str(image_folder), '--out']
    mine = tmp_path / 'mine'
    mine.mkdir()
    (mine / 'index.html').write_text('of the user')
    for out, message in (
        (mine, "holds 'index.html'"),
        (image_folder, 'Choose a new or an empty folder'),
        (Path(trained[0]), 'Not a directory'),
    ):
        assert message in refused(capsys, *command, str(out))
    assert (mine / 'index.html').read_text() == 'of the user'
    assert 'too many for one picture' in refused(capsys, *command, str(tmp_path / 'o'), '--most-used', '3000')
    for option in ('--num-images=0', '--num-images=-40', '--context=-1', '--most-used=0', '--codes=-1'):
        assert f'argument {option.split("=")[0]}' in refused(capsys, *command, str(tmp_path / 'o'), option, code=2)
    assert not (tmp_path / 'o').exists()


@pytest.fixture
def masks_command(tmp_path: Path, image_folder: Path, trained: tuple[str, str]) -> list[str]:
    pretraining = tiny_pretraining()
    config, checkpoint = tmp_path / 'pretrain.py', tmp_path / 'pretrain.pth'
    config.write_text(f'model = {pretraining!r}\ntrain_dataloader = dict(dataset=dict(pipeline={MASKED!r}))\n')
    torch.save(MODELS.build(pretraining).state_dict(), checkpoint)
    return ['visualize_masks', str(config), str(checkpoint), str(image_folder), '--tokenizer', trained[1]]


def test_masks_are_drawn_with_pictures_from_codes(
    tmp_path: Path, masks_command: list[str], capsys: pytest.CaptureFixture
) -> None:
    decoder = dict(
        type='mmbeitv2.PixelDecoder',
        tokenizer=tiny_tokenizer(),
        decoder=tiny_vit(img_size=4, patch_size=1, in_channels=8, out_type='featmap'),
    )
    (tmp_path / 'decoder.py').write_text(f'model = {decoder!r}\n')
    torch.save(MODELS.build(decoder).state_dict(), tmp_path / 'decoder.pth')
    command = [*masks_command, '--num-images', '2']
    run_tool(*command, '--out', str(tmp_path / 'masks.png'))
    pixels = ['--pixel-decoder', str(tmp_path / 'decoder.py'), str(tmp_path / 'decoder.pth')]
    run_tool(*command, *pixels, '--out', str(tmp_path / 'pixels.png'))
    four, six = (cv2.imread(str(tmp_path / f'{name}.png')).shape[1] for name in ('masks', 'pixels'))
    assert six == pytest.approx(1.5 * four, abs=2)
    assert '2 images' in capsys.readouterr().out


def test_masks_are_those_of_the_config(tmp_path: Path, masks_command: list[str], capsys: pytest.CaptureFixture) -> None:
    config = Path(masks_command[1])
    text = config.read_text()
    single = dict(type='mmbeitv2.RandomMaskGenerator', grid_size=4, num_masked=6)
    config.write_text(f'{text}train_dataloader["dataset"]["pipeline"] = [{single!r}]\n')
    run_tool(*masks_command, '--num-images', '2', '--out', str(tmp_path / 'masks.png'))
    config.write_text(f'{text}train_dataloader["dataset"]["pipeline"] = []\n')
    assert 'has no mask generator of this package' in refused(
        capsys, *masks_command, '--out', str(tmp_path / 'none.png')
    )


def test_bad_input_to_visualize_masks(
    tmp_path: Path, image_folder: Path, masks_command: list[str], capsys: pytest.CaptureFixture
) -> None:
    out = str(tmp_path / 'm.png')
    assert 'must end in one of' in refused(capsys, *masks_command, '--out', str(tmp_path / 'm.doc'))
    assert 'is a folder' in refused(capsys, *masks_command, '--out', str(tmp_path))
    image = image_folder / 'cat/nested/0.jpg'
    before = image.read_bytes()
    assert 'lies inside the images' in refused(capsys, *masks_command, '--out', str(image))
    assert image.read_bytes() == before
    for option in ('--num-images=0', '--seed=-1'):
        assert 'must be a whole number' in refused(capsys, *masks_command, '--out', out, option, code=2)
