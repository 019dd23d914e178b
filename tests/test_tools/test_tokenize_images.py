"""tools/tokenize_images.py, tools/visualize_codebook.py and tools/visualize_masks.py."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmbeitv2.apis import VisualTokenizer, read_config
from mmbeitv2.inference import tokenizing
from tests.conftest import refused, run_tool, tiny_pretraining, tiny_tokenizer, tiny_vit, write_model


def options(tokenizer: tuple[str, str], out: Path) -> list[str]:
    return ['--config', tokenizer[0], '--checkpoint', tokenizer[1], '--out', str(out), '--num-workers', '0']


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as content:
        return dict(zip(content['paths'].tolist(), content['codes'], strict=True))


def expected(tokenizer: tuple[str, str], folder: Path) -> dict[str, np.ndarray]:
    """The codes by the tokenizer itself."""
    paths = sorted(str(path.relative_to(folder)) for path in folder.rglob('*.jpg'))
    codes = VisualTokenizer(read_config(tokenizer[0]), tokenizer[1])([folder / path for path in paths])
    return dict(zip(paths, codes.numpy(), strict=True))


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert list(found) == list(wanted)
    assert all(np.array_equal(found[path], wanted[path]) for path in wanted)


def test_every_readable_image_is_tokenized_and_the_others_are_listed(
    tmp_path: Path, image_folder: Path, tokenizer: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    wanted = expected(tokenizer, image_folder)
    assert len(wanted) == 16
    (image_folder / 'cut.jpg').write_bytes((image_folder / 'cat/nested/0.jpg').read_bytes()[:500])
    (image_folder / 'notes.txt').write_text('no image')
    with pytest.raises(SystemExit) as end:
        run_tool(
            'tokenize_images', str(image_folder), *options(tokenizer, tmp_path / 'codes.npz'), '--num-workers', '1'
        )
    assert end.value.code == 1
    output = capsys.readouterr()
    assert re.search(r"16 images, 4x4 codes each.*\n.*cut.jpg' cannot be read", output.out)
    assert '1 images could not be read; they are named above' in output.err
    assert_same(read(tmp_path / 'codes.npz'), wanted)
    with np.load(tmp_path / 'codes.npz') as content:
        assert content['num_codes'] == 16
    assert not (tmp_path / 'codes.npz.partial').exists()


def test_codes_of_another_tokenizer_folder_or_setting_are_never_mixed_in(
    tmp_path: Path, image_folder: Path, tokenizer: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'codes.npz'
    run_tool('tokenize_images', str(image_folder), *options(tokenizer, out))
    before = out.read_bytes()
    other = write_model(tmp_path, 'tokenizer', tiny_tokenizer(), seed=1)  # of the same name and size
    shutil.copytree(image_folder, tmp_path / 'copy')
    for folder, model, more, message in (
        (image_folder, other, [], '(different: weights)'),
        (image_folder, tokenizer, ['--fit', 'stretch'], '(different: fit)'),
        (image_folder, tokenizer, ['--cfg-options', 'model.encoder.arch.num_heads=4'], '(different: settings)'),
        (tmp_path / 'copy', tokenizer, [], '(different: image folder)'),
    ):
        assert message in refused(capsys, 'tokenize_images', str(folder), *options(model, out), *more)
    assert out.read_bytes() == before
    renamed = tmp_path / 'renamed.pth'
    shutil.copy(tokenizer[1], renamed)  # the same tokenizer under another name
    run_tool('tokenize_images', str(image_folder), *options((tokenizer[0], str(renamed)), out))
    assert_same(read(out), expected(tokenizer, image_folder))


def test_ended_in_the_middle_it_goes_on_and_run_again_it_tokenizes_only_what_is_new_or_has_changed(
    tmp_path: Path,
    image_folder: Path,
    tokenizer: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    tokenize, counts = VisualTokenizer.tokenize, []

    def fail_at_the_third(self: VisualTokenizer, prepared: torch.Tensor) -> torch.Tensor:
        counts.append(len(prepared))
        if len(counts) == 3:
            assert len(read(tmp_path / 'codes.npz.partial')) == 2 * 3  # what a kill would leave
            raise KeyboardInterrupt
        return tokenize(self, prepared)

    monkeypatch.setattr(VisualTokenizer, 'tokenize', fail_at_the_third)
    monkeypatch.setattr(tokenizing, '_SAVE_EVERY', -1)
    command = [str(image_folder), *options(tokenizer, tmp_path / 'codes.npz'), '--batch-size', '3']
    with pytest.raises(SystemExit):
        run_tool('tokenize_images', *command)
    assert not (tmp_path / 'codes.npz').exists()
    capsys.readouterr()
    run_tool('tokenize_images', *command)
    assert sum(counts[3:]) == 16 - 2 * 3
    assert '6/16' in capsys.readouterr().err  # the bar starts from what is done
    assert_same(read(tmp_path / 'codes.npz'), expected(tokenizer, image_folder))
    assert not (tmp_path / 'codes.npz.partial').exists()

    counts.clear()
    for name in ('new.jpg', 'cat/nested/3.jpg'):
        cv2.imwrite(str(image_folder / name), np.zeros((40, 40, 3), dtype=np.uint8))
    (image_folder / 'dog/nested/5.jpg').unlink()
    run_tool('tokenize_images', *command)
    assert counts == [2]
    assert_same(read(tmp_path / 'codes.npz'), expected(tokenizer, image_folder))


def test_files_of_others_are_left_alone(
    tmp_path: Path, image_folder: Path, tokenizer: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    for name, partial in (('broken.npz', ''), ('mine.npz', '.partial')):
        (tmp_path / f'{name}{partial}').write_text('of the user')
        message = refused(capsys, 'tokenize_images', str(image_folder), *options(tokenizer, tmp_path / name))
        assert f"{name}{partial}' is damaged, or was not written" in message
        assert (tmp_path / f'{name}{partial}').read_text() == 'of the user'


def test_codebook_is_drawn(
    tmp_path: Path, image_folder: Path, tokenizer: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / 'o'
    command = ['visualize_codebook', *tokenizer, str(image_folder), '--out', str(out)]
    run_tool(*command)
    assert '16 images' in capsys.readouterr().out
    run_tool(*command, '--num-images', '9')  # over its own files
    assert ' of 9 images' in (out / 'index.html').read_text()
    for name in ('codebook', 'usage'):
        assert cv2.imread(str(out / f'{name}.png')).std() > 1


def test_masks_are_drawn_with_pictures_from_codes(
    tmp_path: Path, image_folder: Path, tokenizer: tuple[str, str], pretrained: tuple[str, str]
) -> None:
    decoder = dict(
        type='mmbeitv2.PixelDecoder',
        tokenizer=tiny_tokenizer(),
        decoder=tiny_vit(img_size=4, patch_size=1, in_channels=8, out_type='featmap'),
    )
    command = ['visualize_masks', *pretrained, str(image_folder), '--tokenizer', tokenizer[1], '--num-images', '2']
    run_tool(*command, '--out', str(tmp_path / 'masks.png'))
    pixels = ['--pixel-decoder', *write_model(tmp_path, 'decoder', decoder)]
    run_tool(*command, *pixels, '--out', str(tmp_path / 'pixels.png'))
    four, six = (cv2.imread(str(tmp_path / f'{name}.png')).shape[1] for name in ('masks', 'pixels'))
    assert six == pytest.approx(1.5 * four, abs=2)


def test_masks_are_those_of_the_config_and_no_image_is_written_over(
    tmp_path: Path, image_folder: Path, tokenizer: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    masks = [dict(type='mmbeitv2.RandomMaskGenerator', grid_size=4, num_masked=6)]
    for pipeline, out, message in (
        (masks, image_folder / 'cat/nested/0.jpg', 'lies inside the images'),
        ([], tmp_path / 'masks.png', 'has no mask generator of this package'),
    ):
        data = f'train_dataloader = dict(dataset=dict(pipeline={pipeline!r}))\n'
        own = write_model(tmp_path, 'own', tiny_pretraining(), data)
        command = ['visualize_masks', *own, str(image_folder), '--tokenizer', tokenizer[1], '--num-images', '2']
        assert message in refused(capsys, *command, '--out', str(out))
        if pipeline:
            run_tool(*command, '--out', str(tmp_path / 'masks.png'))
    assert cv2.imread(str(image_folder / 'cat/nested/0.jpg')).shape == (40, 48, 3)
