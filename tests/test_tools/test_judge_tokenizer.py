from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from PIL import Image

from mmbeitv2.apis import VisualTokenizer
from mmbeitv2.errors import InputError
from mmbeitv2.evaluation import codebook_statistics
from mmbeitv2.visualization.tokenizer_report import judge, page
from tests.conftest import NUM_CODES, TEACHER, run_tool, tiny_kmeans, tiny_tokenizer, tiny_vit, write_model
from tests.test_inference.foreign import foreign_tokenizer


@pytest.fixture(scope='module')
def kmeans(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Config and checkpoint of a k-means tokenizer."""
    folder = tmp_path_factory.mktemp('kmeans')
    torch.save(MODELS.build(TEACHER).module.state_dict(), folder / 'teacher.pth')
    return write_model(folder, 'kmeans', tiny_kmeans(teacher=TEACHER | dict(pretrained=str(folder / 'teacher.pth'))))


def test_two_tokenizers_are_judged_on_a_labeled_folder(
    tmp_path: Path, image_folder: Path, tokenizer: tuple[str, str], kmeans: tuple[str, str]
) -> None:
    out, numbers = tmp_path / 'page.html', tmp_path / 'numbers.json'
    options = ('--versus', *kmeans, '--classes', '--out', str(out), '--json', str(numbers))
    run_tool('judge_tokenizer', *tokenizer, str(image_folder), *options)
    report = json.loads(numbers.read_text())
    assert report['num_images'] == 16
    for found, own in zip(report['tokenizers'], (tokenizer, kmeans), strict=True):
        codes = VisualTokenizer(*own)(sorted(image_folder.rglob('*.jpg')))
        wanted = codebook_statistics(torch.bincount(codes.flatten(), minlength=NUM_CODES))
        assert found['perplexity'] == pytest.approx(wanted['perplexity'])
        assert found['codebook_usage'] == wanted['codebook_usage']
        assert found['checkpoint'] == own[1]
        assert 0 < found['label_information']['value'] < 1
    html = out.read_text()
    assert html.count('<h2>') == 1 + 2
    assert html.count('data:image/png;base64,') == 2 * 4
    assert '://' not in html


def test_a_tokenizer_that_sees_a_patch_alone_gives_it_the_same_code_in_the_mirror_image_and_in_a_shifted_crop(
    tmp_path: Path,
) -> None:
    encoder = tiny_vit(
        arch=dict(embed_dims=32, depth=1, num_heads=2),
        out_type='featmap',
        final_norm='fc_norm',
        rel_pos_bias='none',
        layer_scale_init_value=1e-9,  # no attention, and no positions
    )
    model = tiny_tokenizer(encoder=encoder)
    blind = write_model(tmp_path, 'blind', model)
    # Of 5x5 patches of one color a crop of 4x4 has whole ones; of 4x4 the mirror image.
    for side, name in ((5, 'stable_crop'), (4, 'stable_flip')):
        folder = tmp_path / str(side)
        folder.mkdir()
        for i in range(8):
            colors = np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(colors.repeat(8, axis=0).repeat(8, axis=1)).save(folder / f'{i}.png')
        numbers = tmp_path / f'{side}.json'
        run_tool('judge_tokenizer', *blind, str(folder), '--json', str(numbers))
        (found,) = json.loads(numbers.read_text())['tokenizers']
        assert found[name]['value'] == 1
        assert found[name]['chance'] < 0.5
        assert found['neighbor_agreement']['value'] < 0.5
        assert found['stable_jitter']['value'] < 1


def test_every_tool_for_codes_takes_k_means_and_dall_e(
    tmp_path: Path, image_folder: Path, kmeans: tuple[str, str]
) -> None:
    shutil.rmtree(image_folder / 'cat')
    model = dict(type='mmbeitv2.DALLETokenizer', img_size=32, encoder=dict(n_hid=8))
    (tmp_path / 'dalle.py').write_text(f'model = {model!r}\n')
    torch.save({'state_dict': MODELS.build(model).encoder.state_dict()}, tmp_path / 'dalle.pth')
    for own in (kmeans, (str(tmp_path / 'dalle.py'), str(tmp_path / 'dalle.pth'))):
        name = Path(own[0]).stem
        options = ('--config', own[0], '--checkpoint', own[1], '--num-workers', '0')
        run_tool('tokenize_images', str(image_folder), '--out', str(tmp_path / f'{name}.npz'), *options)
        with np.load(tmp_path / f'{name}.npz') as written:
            paths = [image_folder / path for path in written['paths'].tolist()]
            assert written['codes'].tolist() == VisualTokenizer(*own)(paths).tolist()
        run_tool('visualize_codebook', *own, str(image_folder), '--out', str(tmp_path / name))
        assert (tmp_path / name / 'index.html').is_file()
        run_tool('judge_tokenizer', *own, str(image_folder), '--out', str(tmp_path / f'{name}.html'))
        assert (tmp_path / f'{name}.html').is_file()
    with pytest.raises(InputError, match='no code vectors'):
        VisualTokenizer(*own).lookup([0])


def test_names_are_escaped_and_colors_are_those_of_code_vectors(tmp_path: Path, image_folder: Path) -> None:
    signs = foreign_tokenizer(tmp_path, 'signs')
    judged = judge(signs, sorted(image_folder.rglob('*.jpg')), None, 'signs <!--<script>')
    assert len(np.unique(judged.colors, axis=0)) > 8  # which no two codes share
    html = page([judged], 'of <b>')
    assert '<script>' not in html
    assert 'signs &lt;!--&lt;script&gt;' in html
