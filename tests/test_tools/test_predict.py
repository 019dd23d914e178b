"""tools/predict.py: classes, label maps, tiles, and what happens when something goes wrong."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from mmengine.registry import DefaultScope
from mmpretrain import ImageClassificationInferencer
from mmseg.apis import MMSegInferencer
from PIL import Image

from mmbeitv2.backbones import BEiTv2ViT
from mmbeitv2.checkpoints import loading_tensors_only
from mmbeitv2.errors import InputError
from mmbeitv2.inference import predicting
from mmbeitv2.inference.tiling import blend_tiles
from tests.conftest import files_of_at_most, refused, run_tool, tiny_vit, write_model
from tests.test_docs.forks import run_bash

COLORS = [[10 * number, 255 - number, 7] for number in range(5)]
VIT = dict(out_indices=(1,), out_type='featmap', final_norm='none', rel_pos_bias='per_layer', layer_scale_init_value=0)
HEAD = dict(type='FCNHead', in_channels=32, channels=8, num_convs=1, num_classes=5, norm_cfg=dict(type='BN'))
PIPELINE = [
    dict(type='LoadImageFromFile', _scope_='mmbeitv2'),
    dict(type='LoadAnnotations', _scope_='mmbeitv2'),
    dict(type='PackSegInputs'),
]


def write_segmentor(folder: Path, seed: int = 0, **changes: object) -> list[str]:
    """Config and checkpoint of a segmentor of crops of 32x32 pixels, whose first class has the label 1."""
    model = dict(
        type='mmseg.EncoderDecoder',
        data_preprocessor=dict(type='mmseg.SegDataPreProcessor', mean=[1.0] * 3, std=[60.0] * 3, bgr_to_rgb=True),
        backbone=tiny_vit(**VIT),
        decode_head=HEAD | dict(type='mmseg.FCNHead'),
        test_cfg=dict(mode='slide', crop_size=(32, 32), stride=(20, 20)),
    )
    model |= changes
    dataset = dict(type='BaseSegDataset', reduce_zero_label=True, pipeline=PIPELINE,
                   metainfo=dict(classes=[*'abcde'], palette=COLORS))  # fmt: skip
    more = "default_scope = 'mmseg'\nvisualizer = dict(type='SegLocalVisualizer', name='visualizer')\n"
    more += f'test_dataloader = dict(dataset={dataset!r})\n'
    config, checkpoint = write_model(folder, 'segmentor', model, more, seed)
    state = torch.load(checkpoint)
    state['state_dict'] = {key: 4 * value for key, value in state['state_dict'].items()}  # so that all classes occur
    torch.save(state, checkpoint)
    return [config, checkpoint]


@pytest.fixture(scope='module')
def segmentor(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_segmentor(tmp_path_factory.mktemp('segmentor'))


def draw(path: Path, height: int = 32, width: int = 32, **settings: object) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = height * width + len(path.name)
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    pixels = pixels.repeat(4, 0).repeat(4, 1)[:height, :width]
    if path.suffix == '.tif':
        shape = dict(height=height, width=width, count=3, dtype='uint8')
        with rasterio.open(path, 'w', 'GTiff', tiled=True, blockxsize=64, blockysize=64, **shape, **settings) as file:
            file.write(pixels.transpose(2, 0, 1))
    else:
        Image.fromarray(pixels).save(path)
    return pixels


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def predict(model: Sequence[str], *arguments: object) -> None:
    run_tool('predict', *model, *map(str, arguments), '--num-workers', '0')


@pytest.mark.parametrize('options', [[], ['--tiled']])
def test_up_to_the_size_of_the_crop_label_maps_are_those_of_mmsegs_inferencer(
    tmp_path: Path, segmentor: list[str], options: list[str]
) -> None:
    for name, size in (('a/1.png', (32, 32)), ('b/1.png', (32, 24)), ('b/c/2.png', (17, 30))):
        draw(tmp_path / 'images' / name, *size)
    predict(segmentor, tmp_path / 'images', '--out', tmp_path / 'out', *options)
    with loading_tensors_only():
        inferencer = MMSegInferencer(*segmentor, device='cpu')
    found = set()
    for path in sorted((tmp_path / 'images').rglob('*.png')):
        labels = read(tmp_path / 'out/labels' / path.relative_to(tmp_path / 'images'))
        assert np.array_equal(labels, inferencer(str(path))['predictions'] + 1)
        found |= set(labels.ravel().tolist())
    assert len(found) > 2
    with Image.open(tmp_path / 'out/labels/a/1.png') as image:
        colors = np.array(image.convert('RGB'))
    assert np.array_equal(colors, np.array(COLORS)[read(tmp_path / 'out/labels/a/1.png') - 1])


def test_overlapping_tiles_are_weighted_by_the_distance_to_their_edge() -> None:
    size, crop, stride = (41, 57), (16, 12), (10, 7)
    tiles = {(top, left): torch.randn(2, 16, 12) for top in (0, 10, 20, 25) for left in (0, 7, 14, 21, 28, 35, 42, 45)}
    sums, total = torch.zeros(2, *size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    weight = torch.tensor([[min(y + 1, 16 - y) * min(x + 1, 12 - x) for x in range(12)] for y in range(16)])
    for (top, left), tile in tiles.items():
        sums[:, top : top + 16, left : left + 12] += tile * weight
        total[top : top + 16, left : left + 12] += weight
    used = set()

    def predict_tiles(top: int, lefts: Sequence[int]) -> torch.Tensor:
        used.update((top, left) for left in lefts)
        return torch.stack([tiles[top, left] for left in lefts])

    for first, end in ((0, 57), (0, 20), (20, 57)):
        strips = list(blend_tiles(size, crop, stride, predict_tiles, (first, end), batch_size=3))
        assert [top for top, _ in strips] == [0, 10, 20, 25]
        blended = torch.cat([strip for _, strip in strips], dim=1)
        torch.testing.assert_close(blended, (sums / total)[..., first:end].float(), rtol=1e-5, atol=1e-5)
    assert used == set(tiles)


def test_a_tiff_read_by_windows_gives_what_the_image_in_memory_gives(tmp_path: Path, segmentor: list[str]) -> None:
    place = rasterio.Affine(0.5, 0, 1000, 0, -0.5, 2000)
    draw(tmp_path / 'tiff/x.tif', 70, 1100, crs='EPSG:32632', transform=place, compress='lzw')
    with rasterio.open(tmp_path / 'tiff/x.tif') as file:
        (tmp_path / 'png').mkdir()
        Image.fromarray(file.read().transpose(1, 2, 0)).save(tmp_path / 'png/x.png')
    options = ['--tiled', '--overlay', '--confidence']
    predict(segmentor, tmp_path / 'tiff', '--out', tmp_path / 'by_windows', *options, '--memory', 1)
    predict(segmentor, tmp_path / 'png', '--out', tmp_path / 'in_memory', *options, '--batch-size', 3)
    for kind in ('labels', 'overlays', 'confidence'):
        with rasterio.open(tmp_path / f'by_windows/{kind}/x.tif') as file:
            assert (file.crs.to_epsg(), file.transform) == (32632, place)
            assert file.profile['tiled']
            found = file.read().transpose(1, 2, 0).squeeze()
            if kind == 'labels':
                assert list(file.colormap(1)[3][:3]) == COLORS[2]
        different = (found != read(tmp_path / f'in_memory/{kind}/x.png')).mean()
        assert different < 1e-3  # rounding, which depends on the batch


def test_crops_of_an_image_go_through_the_network_together(tmp_path: Path, segmentor: list[str]) -> None:
    draw(tmp_path / 'x.png', 32, 80)
    sizes: list[int] = []

    def note(module: torch.nn.Module, arguments: tuple) -> None:
        if isinstance(module, BEiTv2ViT):
            sizes.append(len(arguments[0]))

    with torch.nn.modules.module.register_module_forward_pre_hook(note):
        for size in (1, 3):
            predict(segmentor, tmp_path / 'x.png', '--out', tmp_path / f'{size}', '--batch-size', size)
    assert sizes == [1, 1, 1, 1, 3, 1]
    assert np.array_equal(read(tmp_path / '1/labels/x.png'), read(tmp_path / '3/labels/x.png'))


def test_confidence_and_overlay_belong_to_the_labels(tmp_path: Path, segmentor: list[str]) -> None:
    pixels = draw(tmp_path / 'x.png', 30, 32)
    predict(segmentor, tmp_path / 'x.png', '--out', tmp_path / 'out', '--overlay', '--confidence')
    with loading_tensors_only():
        logits = MMSegInferencer(*segmentor, device='cpu')(str(tmp_path / 'x.png'), return_datasamples=True).seg_logits
    share = logits.data.softmax(0).amax(0).numpy()
    assert np.abs(read(tmp_path / 'out/confidence/x.png') - 255 * share).max() <= 0.51
    colors = np.array(COLORS)[read(tmp_path / 'out/labels/x.png') - 1]
    assert np.abs(read(tmp_path / 'out/overlays/x.png') - (pixels / 2 + colors / 2)).max() <= 0.5


def test_the_confidence_of_masks_leaves_room_for_no_class(tmp_path: Path) -> None:
    head = dict(type='mmbeitv2.EoMTHead', in_channels=32, num_classes=5, num_points=16)
    backbone = tiny_vit(type='mmbeitv2.EoMTViT', num_queries=3, query_blocks=1, num_upscales=1)
    model = write_segmentor(tmp_path, backbone=backbone, decode_head=head)
    draw(tmp_path / 'x.png')
    predict(model, tmp_path / 'x.png', '--out', tmp_path / 'out', '--confidence')
    with loading_tensors_only():
        scores = MMSegInferencer(*model, device='cpu')(str(tmp_path / 'x.png'), return_datasamples=True).seg_logits.data
    total = scores.sum(0)
    assert total.min() < 1 < total.max()
    share = (scores.amax(0) / total.clamp(min=1)).numpy()
    assert np.abs(read(tmp_path / 'out/confidence/x.png') - 255 * share).max() <= 0.51


def test_label_maps_have_the_values_of_the_label_images_of_the_training(tmp_path: Path, segmentor: list[str]) -> None:
    for values in ([26, 0, 7, 11, 3], [26, 0, 700, 11, 3]):
        state = torch.load(segmentor[1])
        state['meta'] = dict(dataset_meta=dict(classes=tuple('abcde'), palette=COLORS, label_values=values))
        torch.save(state, tmp_path / 'with_values.pth')
        draw(tmp_path / 'x.png')
        model, out = [segmentor[0], str(tmp_path / 'with_values.pth')], tmp_path / f'out-{max(values)}'
        predict(model, tmp_path / 'x.png', '--out', out)
        predict(segmentor, tmp_path / 'x.png', '--out', tmp_path / f'numbers-{max(values)}')
        numbers = read(tmp_path / f'numbers-{max(values)}/labels/x.png') - 1
        assert np.array_equal(read(out / 'labels/x.png'), np.array(values)[numbers])
    table = tmp_path / 'labels.txt'
    table.write_text('26, a\n0, b\n700, c\n11, d\n3, e\n701, e\n')
    loader = "'type': 'LoadAnnotations'"
    config = tmp_path / 'with_table.py'
    config.write_text(Path(segmentor[0]).read_text().replace(loader, f"{loader}, 'label_table': {str(table)!r}"))
    predict([str(config), segmentor[1]], tmp_path / 'x.png', '--out', tmp_path / 'table')
    assert np.array_equal(read(tmp_path / 'table/labels/x.png'), np.array(values)[numbers])
    for key, wrong in (('label_values', [26, 0, 70000, 11, 3]), ('palette', [[0, 300, 0]] * 5)):
        state['meta']['dataset_meta'][key] = wrong
        torch.save(state, tmp_path / 'with_values.pth')
        with pytest.raises(InputError, match=f'{key} in .* has not only whole numbers from 0 to'):
            predicting.predict(*model, tmp_path / 'x.png', tmp_path / 'wide')


@pytest.fixture(scope='module')
def classifier(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    backbone = tiny_vit(rel_pos_bias='per_layer', final_norm='fc_norm', layer_scale_init_value=0)
    head = dict(type='mmpretrain.LinearClsHead', num_classes=3, in_channels=32, topk=(1,))
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')]
    dataset = dict(type='CustomDataset', metainfo=dict(classes=[*'xyz']), pipeline=steps)
    more = f'test_dataloader = dict(dataset={dataset})\n'
    more += 'data_preprocessor = dict(num_classes=3, mean=[1.0] * 3, std=[60.0] * 3)\n'
    model = dict(type='mmpretrain.ImageClassifier', backbone=backbone, head=head)
    with DefaultScope.overwrite_default_scope('mmpretrain'):  # another one may be left from a test
        return list(write_model(tmp_path_factory.mktemp('classifier'), 'classifier', model, more))


def rows_of(path: Path) -> list[dict]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_classes_are_those_of_mmpretrains_inferencer(tmp_path: Path, classifier: list[str], image_folder: Path) -> None:
    options = ['--topk', '2', '--batch-size', '5']
    predict(classifier, image_folder, '--out', tmp_path / 'out', *options)
    rows = rows_of(tmp_path / 'out/predictions.csv')
    assert [row['rank'] for row in rows] == ['1', '2'] * 16
    with loading_tensors_only():
        inferencer = ImageClassificationInferencer(*classifier, device='cpu', classes=[*'xyz'])
    for row in rows[::2]:
        (result,) = inferencer(str(image_folder / row['image']))
        assert (int(row['label']), row['class']) == (result['pred_label'], result['pred_class'])
        assert float(row['score']) == pytest.approx(result['pred_score'], abs=1e-5)
    predict(classifier, image_folder, '--out', tmp_path / 'out', *options, '--format', 'parquet')
    parquet = pytest.importorskip('pyarrow.parquet').read_table(tmp_path / 'out/predictions.parquet').to_pylist()
    assert [{key: str(value) for key, value in row.items()} for row in parquet] == rows
    (tmp_path / 'no_image.jpg').write_text('')
    with pytest.raises(SystemExit):
        predict(classifier, tmp_path / 'no_image.jpg', '--out', tmp_path / 'none', '--format', 'parquet')
    table = pytest.importorskip('pyarrow.parquet').read_table(tmp_path / 'none/predictions.parquet')
    assert (table.num_rows, table.column_names) == (0, list(rows[0]))


def test_inputs_are_images_folders_patterns_and_lists(
    tmp_path: Path, classifier: list[str], image_folder: Path
) -> None:
    (image_folder / 'some.txt').write_text('dog/nested/0.jpg\ncat\n')

    def images_of(*inputs: str) -> list[str]:
        out = tmp_path / f'out-{len(list(tmp_path.glob("out-*")))}'
        predict(classifier, *(image_folder / each for each in inputs), '--out', out)
        return [row['image'] for row in rows_of(out / 'predictions.csv')]

    cats = [f'cat/nested/{number}.jpg' for number in range(8)]
    assert images_of('cat') == [name.removeprefix('cat/') for name in cats]
    assert images_of('some.txt', 'cat/nested/0.jpg') == [*cats, 'dog/nested/0.jpg']
    assert images_of('*/nested/[12].jpg') == [
        f'{name}/nested/{number}.jpg' for name in ('cat', 'dog') for number in (1, 2)
    ]
    assert images_of('cat/nested/3.jpg') == ['3.jpg']
    draw(image_folder / 'out/labels/0.png')
    predict(classifier, image_folder, '--out', image_folder / 'predicted')
    draw(image_folder / 'predicted/labels/0.png')  # whose results are no inputs
    predict(classifier, image_folder, '--out', image_folder / 'predicted')
    predict(classifier, image_folder, '--out', image_folder / 'again')
    assert len(rows_of(image_folder / 'again/predictions.csv')) == 17
    predict(classifier, image_folder / 'predicted', '--out', image_folder / 'again')  # they are, if named
    assert len(rows_of(image_folder / 'again/predictions.csv')) == 18  # the rows before are kept
    os.rename(image_folder / 'predicted/labels/0.png', os.fsencode(image_folder / 'predicted/labels') + b'/\xff.png')
    options = ['--out', image_folder / 'again', '--format', 'parquet']
    predict(classifier, image_folder / 'predicted', *options)
    table = pytest.importorskip('pyarrow.parquet').read_table(image_folder / 'again/predictions.parquet')
    assert r'labels/\xff.png' in table['image'].to_pylist()


def test_what_cannot_work_is_refused_before_the_work(
    tmp_path: Path, segmentor: list[str], classifier: list[str], capsys: pytest.CaptureFixture
) -> None:
    draw(tmp_path / 'a/1.png')
    draw(tmp_path / 'a/1.jpg')
    (tmp_path / 'list.txt').write_text('a/1.png\nb.png\n')

    def sentence(model: list[str], *arguments: object) -> str:
        return refused(capsys, 'predict', *model, *map(str, arguments))

    out = ['--out', tmp_path / 'out']
    one = tmp_path / 'a/1.png'
    assert "1.jpg' and '" in (twice := sentence(segmentor, tmp_path / 'a', *out))
    assert "a/1.png' would have the same name" in twice
    with pytest.raises(InputError, match='no input is given'):
        predicting.predict(*segmentor, [], tmp_path / 'out')
    assert "b.png' not found" in sentence(segmentor, tmp_path / 'b.png', *out)
    assert "line 2 of image list '" in sentence(segmentor, tmp_path / 'list.txt', *out)
    assert 'only a segmentor takes --tiled, --overlay' in sentence(classifier, one, *out, '--tiled', '--overlay')
    assert 'only a classifier takes --topk' in sentence(segmentor, one, *out, '--topk', '3')
    assert 'do not cover an image' in sentence(
        segmentor, one, *out, '--tiled', '--cfg-options', 'model.test_cfg.stride=[40,40]'
    )
    assert not (tmp_path / 'out').exists()
    assert "was not made by predict.py and holds '1.jpg', '1.png'" in sentence(segmentor, one, '--out', tmp_path / 'a')


def count_predictions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that are read from now on."""
    names: list[str] = []
    load = predicting.PipelineImages.__getitem__

    def noting(self: predicting.PipelineImages, index: int) -> tuple[str, dict | str]:
        names.append(self.names[index])
        return load(self, index)

    monkeypatch.setattr(predicting.PipelineImages, '__getitem__', noting)
    return names


def test_the_same_command_continues_and_never_mixes_results(
    tmp_path: Path, segmentor: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    images, out = tmp_path / 'images', tmp_path / 'out'
    for number in range(4):
        draw(images / f'{number}.png')
    read_images = count_predictions(monkeypatch)
    record = predicting.PredictionFolder.record

    def killed(self: predicting.PredictionFolder, image: str, path: str, **results: object) -> None:
        if image == '2.png':
            raise KeyboardInterrupt
        record(self, image, path, **results)

    monkeypatch.setattr(predicting.PredictionFolder, 'record', killed)
    with pytest.raises(SystemExit):
        predict(segmentor, images, '--out', out)
    monkeypatch.setattr(predicting.PredictionFolder, 'record', record)
    with (out / '.predict/done-0.jsonl').open('a') as stream:
        stream.write('\n[1]\n{"image": "x"}\n{"image": "2.p')  # as a kill leaves it
    (out / 'labels/9.tif.0123abcd.tmp').touch()
    read_images.clear()
    predict(segmentor, images, '--out', out)
    assert read_images == ['2.png', '3.png']
    assert len(list((out / 'labels').iterdir())) == 4
    (out / 'labels/0.png').unlink()
    draw(images / '3.png', 30)
    draw(images / '4.png')
    read_images.clear()
    predict(segmentor, images, '--out', out)
    assert read_images == ['0.png', '3.png', '4.png']
    assert read(out / 'labels/3.png').shape == (30, 32)
    (tmp_path / 'other').mkdir()
    other = write_segmentor(tmp_path / 'other', seed=1)
    arguments = [str(images), '--out', str(out)]
    assert '(different: weights)' in refused(capsys, 'predict', *other, *arguments)
    assert '(different: tiled)' in refused(capsys, 'predict', *segmentor, *arguments, '--tiled')
    shutil.copytree(images, tmp_path / 'twin')  # with the same times
    twice = refused(capsys, 'predict', *segmentor, str(tmp_path / 'twin'), '--out', str(out))
    assert f"twin/0.png' would have the same name as those of '{images}/0.png' in" in twice
    (out / '.predict/made_by.json').write_text('{"weig')
    assert "made_by.json', which says what" in refused(capsys, 'predict', *segmentor, *arguments)
    (out / '.predict/done-0.jsonl').unlink()
    predict(other, images, '--out', out)  # a record without results binds nobody


@pytest.mark.parametrize('options', [[], ['--tiled']])
def test_images_that_are_cut_off_or_tiny_are_named_at_the_end_and_the_others_are_done(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture
) -> None:
    arch = dict(embed_dims=32, depth=4, num_heads=4)
    neck = dict(type='mmseg.Feature2Pyramid', embed_dim=32, rescales=[4, 2, 1, 0.5], norm_cfg=dict(type='BN'))
    backbone = tiny_vit(**VIT | dict(arch=arch, out_indices=(0, 1, 2, 3)))
    segmentor = write_segmentor(tmp_path, backbone=backbone, neck=neck)
    names = [f'{number}{".tif" if options else ".jpg"}' for number in range(3)]
    for name in names:
        draw(tmp_path / 'images' / name, 96, 128)
    cut = tmp_path / 'images' / names[1]
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    draw(tmp_path / 'images/tiny.png', 8, 40)
    draw(tmp_path / 'images/least.png', 9, 40)
    if options:
        Image.fromarray(draw(tmp_path / 'images/turned.tif')).save(tmp_path / 'images/turned.tif', tiffinfo={274: 6})
        with rasterio.open(tmp_path / 'images/wide.tif', 'w', 'GTiff', 32, 32, 3, dtype='uint16'):
            pass
    with pytest.raises(SystemExit) as end:
        predict(segmentor, tmp_path / 'images', '--out', tmp_path / 'out', *options)
    assert end.value.code == 1
    output = capsys.readouterr()
    assert f"{names[1]}' cannot be read (" in output.out
    assert "tiny.png' is smaller than the 9 pixels that the model needs" in output.out
    assert not options or "turned.tif' cannot be read (its pixels are turned" in output.out
    assert not options or "wide.tif' cannot be read (Cannot handle this data type" in output.out
    assert 'Read failed' not in output.out
    assert f'{4 if options else 2} images could not be read; they are named above' in output.err
    written = sorted(path.stem for path in (tmp_path / 'out/labels').iterdir())
    assert written == ['0', '2', 'least']


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_a_full_disk_ends_in_one_sentence_and_nothing_is_lost(
    tmp_path: Path, segmentor: list[str], suffix: str, capsys: pytest.CaptureFixture
) -> None:
    draw(tmp_path / f'images/0{suffix}', 32, 32)
    draw(tmp_path / f'images/1{suffix}', 400, 600)
    command = [*segmentor, str(tmp_path / 'images'), '--out', str(tmp_path / 'out'), '--tiled']
    with files_of_at_most(3000):
        assert f"labels/1{suffix}' (" in (sentence := refused(capsys, 'predict', *command))
    assert 'Free some space' in sentence
    assert [path.name for path in (tmp_path / 'out/labels').iterdir()] == [f'0{suffix}']
    run_tool('predict', *command)
    assert sorted(path.name for path in (tmp_path / 'out/labels').iterdir()) == [f'0{suffix}', f'1{suffix}']


def test_a_full_disk_names_the_journal(
    tmp_path: Path, classifier: list[str], image_folder: Path, capsys: pytest.CaptureFixture
) -> None:
    command = [*classifier, str(image_folder), '--out', str(tmp_path / 'out'), '--num-workers', '0']
    with files_of_at_most(1000):
        assert "done-0.jsonl' (File too large). Free some" in refused(capsys, 'predict', *command)
    run_tool('predict', *command)
    assert len(rows_of(tmp_path / 'out/predictions.csv')) == 16


def test_several_processes_share_the_images(tmp_path: Path, classifier: list[str], image_folder: Path) -> None:
    (image_folder / 'dog/nested/3.jpg').write_text('no image')
    out = tmp_path / 'out'
    exit_code, output = run_bash(f'bash tools/dist_predict.sh {" ".join(classifier)} 2 {image_folder} --out {out}')
    assert exit_code == 1
    assert "dog/nested/3.jpg' cannot be read" in output
    assert 'predict.py: error: 1 images could not be read' in output
    assert len(rows_of(out / 'predictions.csv')) == 15
    journals = [path.read_text().split('\n') for path in (out / '.predict').glob('done-*.jsonl')]
    assert sorted(sum(map(bool, lines)) for lines in journals) == [7, 8]
