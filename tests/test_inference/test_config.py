"""Config files and --cfg-options, with mmengine's own reading as the oracle."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from mmengine.config import Config, DictAction

from mmbeitv2.errors import InputError
from mmbeitv2.inference.config import merge_options, read_config
from tests.conftest import write_config

CONFIG = """
data_root = 'data/images'
pipeline = [dict(type='LoadImage'), dict(type='Resize', scale=32)]
unused = 3
model = dict(type='Net', arch=dict(embed_dims=32, depth=2), norm='LN', indices=(0, 1),
             init_cfg=dict(type='Weights', checkpoint='a.pth'))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.98)))
train_dataloader = dict(batch_size=4, dataset=dict(type='Images', data_root=data_root, ann_file=data_root + '/list',
                                                   pipeline=pipeline))
val_dataloader = None
custom_hooks = [dict(type='Hook')]
"""


@pytest.fixture
def cfg() -> Config:
    return Config.fromstring(CONFIG, '.py')


def merged_by_mmengine(options: list[str]) -> dict:
    parser = argparse.ArgumentParser()
    parser.add_argument('--options', nargs='+', action=DictAction)
    expected = Config.fromstring(CONFIG, '.py')
    expected.merge_from_dict(parser.parse_args(['--options', *options]).options)
    return expected.to_dict()


@pytest.mark.parametrize(
    'options',
    [
        ['train_dataloader.batch_size=64'],
        ['optim_wrapper.optimizer.lr=1e-4', 'optim_wrapper.clip_grad=None'],
        [
            'optim_wrapper.optimizer.betas=(0.9,0.999)',
            'model.indices=[3,5]',
            'model.new=[(1,2),[a,b]]',
            'model.other=1,2',
        ],
        ['train_dataloader.dataset.pipeline.1.scale=224', 'train_dataloader.dataset.pipeline.0.to_float32=true'],
        ['model.arch=base', 'model.init_cfg=None', 'custom_hooks=[]', 'model.norm=BN'],
        ['load_from=None', 'resume=True', 'train_cfg.max_epochs=3', 'val_dataloader=None'],
        ['model.init_cfg.checkpoint=b.pth', 'model.eps="1e-6"'],
        ['model._delete_=True', 'model.type=Other', 'model.data_preprocessor.mean=[1,2]'],
        ['work_dir=out', 'randomness.seed=5', 'model_wrapper_cfg.type=DDP', 'log_level=ERROR'],
    ],
)
def test_values_are_read_as_mmengine_reads_them(cfg: Config, options: list[str]) -> None:
    assert merge_options(cfg, options).to_dict() == merged_by_mmengine(options)


def test_text_stays_text_where_the_config_has_text_and_a_dict_is_taken_as_it_is(cfg: Config) -> None:
    merge_options(cfg, ['model.norm=16', 'model.type=A,B'])
    assert (cfg.model.norm, cfg.model.type) == ('16', 'A,B')
    merge_options(cfg, {'model.norm': 16, 'model.arch': dict(depth=3)})
    assert (cfg.model.norm, cfg.model.arch) == (16, dict(embed_dims=32, depth=3))


@pytest.mark.parametrize('folder', ["Bob's data", 'a\\b,c', 'two\nlines', '[x]', "x'+str(__import__('os').abort())+'"])
def test_a_folder_is_taken_as_typed_and_nothing_is_evaluated(tmp_path: Path, folder: str) -> None:
    cfg = read_config(write_config(tmp_path, CONFIG), [f'train_dataloader.dataset.data_root={folder}'])
    assert cfg.train_dataloader.dataset.data_root == folder


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (['foo'], "'foo' does not have the form KEY=VALUE"),
        (['model.indices=(1,2]'], 'the brackets of the value do not match'),
        (['train_dataloader.batch_size.x=5'], "'train_dataloader.batch_size.x' does not exist"),
        (['train_dataloader.batchsize=5'], "'train_dataloader.batchsize' does not exist. Did you mean 'batch_size'"),
        (['model.arhc.depth=5'], "'model.arhc' does not exist. Did you mean 'arch'"),
        (['custom_hooks.1.type=A'], "'custom_hooks.1' does not exist"),
        (['optim_wraper.optimizer.lr=1'], "'optim_wraper' does not exist. Did you mean 'optim_wrapper'"),
        (['unused=4'], "'unused' does not exist"),
        (['data_root=photos'], "Did you mean 'train_dataloader.dataset.data_root'"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_one_sentence(cfg: Config, options: list[str], sentence: str) -> None:
    before = cfg.to_dict()
    with pytest.raises(InputError) as error:
        merge_options(cfg, options)
    assert sentence in str(error.value)
    assert cfg.to_dict() == before


def test_a_config_without_a_model_or_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='not found'):
        read_config(str(tmp_path / 'a.py'))
    (tmp_path / 'a.pth').touch()
    with pytest.raises(InputError, match=r"a.pth' is no .py, .yaml or .json file"):
        read_config(str(tmp_path / 'a.pth'))
    with pytest.raises(InputError, match='does not define a model'):
        read_config(write_config(tmp_path, 'a = 1\n'))
