from __future__ import annotations

import ast
import contextlib
import gc
import importlib.util
import os
import random
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import MODELS
from mmengine.utils import ManagerMixin
from torch import nn
from yapf.yapflib import yapf_api

os.environ.setdefault('HF_HUB_OFFLINE', '1')
# mmengine lays out the config in every checkpoint and log, which by yapf takes a third of the time of a tiny run.
yapf_api.FormatCode = lambda text, **_: (ast.unparse(ast.parse(text)) + '\n', True)
# Workers of a loader that the garbage collector finds are never told to end: torch waits this long, then kills each.
torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.2
ROOT = Path(__file__).resolve().parents[1]
# As pytest's setting pythonpath, for the processes that tests start.
os.environ['PYTHONPATH'] = os.pathsep.join([str(ROOT), str(ROOT / 'tools'), os.environ.get('PYTHONPATH', '')]).strip(
    os.pathsep
)
# nohup, cron and the background of a script ignore them, as would every process that a test starts and ends by them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A ViT of two blocks on 4x4 patches of 8x8 pixels.
TINY_ARCH = dict(embed_dims=32, depth=2, num_heads=2)
NUM_CODES = 16
TEACHER = dict(type='mmbeitv2.TimmTeacher', model='vit_tiny_patch16_224', pretrained=False, img_size=32)


def tiny_vit(**changes: object) -> dict:
    return dict(type='mmbeitv2.BEiTv2ViT', arch=TINY_ARCH, img_size=32, patch_size=8) | changes


def tiny_tokenizer(**changes: object) -> dict:
    vit = dict(
        out_type='featmap', final_norm='fc_norm', use_abs_pos_emb=True, rel_pos_bias='none', layer_scale_init_value=0.0
    )
    settings = dict(
        type='mmbeitv2.VQKD',
        encoder=tiny_vit(**vit),
        decoder=tiny_vit(**vit, img_size=4, patch_size=1, in_channels=8),
        quantizer=dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=NUM_CODES, code_dim=8),
        target_dims=24,
    )
    return settings | changes


def tiny_kmeans(**changes: object) -> dict:
    quantizer = dict(type='mmbeitv2.SphericalKMeans', num_codes=NUM_CODES)
    return dict(type='mmbeitv2.KMeansTokenizer', quantizer=quantizer, img_size=32, patch_size=8) | changes


def write_model(folder: Path, name: str, model: dict, more: str = '', seed: int = 0) -> tuple[str, str]:
    """Config and checkpoint, in a folder, of a model with random weights."""
    torch.manual_seed(seed)
    config, checkpoint = folder / f'{name}.py', folder / f'{name}.pth'
    config.write_text(f'model = {model!r}\n{more}')
    torch.save(dict(state_dict=MODELS.build(model).state_dict()), checkpoint)
    return str(config), str(checkpoint)


def randomize(model: nn.Module, std: float = 0.3) -> Any:
    """The model with weights so large that every one of them matters."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model


def tiny_pretraining(**changes: object) -> dict:
    settings = dict(
        type='mmbeitv2.BEiTv2',
        backbone=tiny_vit(out_indices=(0, 1), out_type='raw', final_norm='norm', use_mask_token=True),
        neck=dict(type='mmbeitv2.CLSAggregationNeck'),
        head=dict(type='mmbeitv2.BEiTv2MIMHead'),
        tokenizer=tiny_tokenizer(),
    )
    return settings | changes


@pytest.fixture(autouse=True, scope='module')
def _imports_are_no_garbage() -> None:
    """mmengine collects garbage for each dataset, which takes 0.3 s of a core if it looks through all modules."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> None:
    forget_former_runs()
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def forget_former_runs() -> None:
    """mmengine keeps loggers and visualizers of all runners, whose files may be closed or gone, scopes and progress."""
    for manager in managers():
        manager._instance_dict.clear()


def managers() -> list[type[ManagerMixin]]:
    """mmengine's classes that keep their instances."""
    found = list(ManagerMixin.__subclasses__())
    for manager in found:
        found += manager.__subclasses__()
    return found


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """The folder of :func:`draw_images`."""
    return draw_images(tmp_path / 'images')


def draw_images(root: Path) -> Path:
    """Two classes of eight 40x48 JPEGs, nested two deep."""
    rng = np.random.default_rng(0)
    for name in ('cat', 'dog'):
        folder = root / name / 'nested'
        folder.mkdir(parents=True)
        for i in range(8):
            cv2.imwrite(str(folder / f'{i}.jpg'), rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
    return root


@pytest.fixture(scope='session')
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Config and checkpoint of a tiny VQ-KD."""
    return write_model(tmp_path_factory.mktemp('vqkd'), 'tokenizer', tiny_tokenizer())


@pytest.fixture(scope='session')
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Config and checkpoint of a tiny pretrained model."""
    data = f'train_dataloader = dict(dataset=dict(pipeline={MASKED!r}))\n'
    return write_model(tmp_path_factory.mktemp('beitv2'), 'pretrained', tiny_pretraining(), data)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder and the address of a server of its files; torch's cache is an empty folder."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    folder = tmp_path / 'served'
    folder.mkdir()
    with serve(folder, SimpleHTTPRequestHandler) as address:
        yield folder, address


@contextlib.contextmanager
def serve(folder: Path, handler: type[SimpleHTTPRequestHandler]) -> Iterator[str]:
    """Inside, the files of a folder are served, at this address."""
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(handler, directory=str(folder)))
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """What ``ulimit -f`` does; a full disk fails in the same call."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def free_port() -> int:
    """A port that nothing listens on, outside the range from which the system gives ports to connections."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(('', port))
            return port


# Several processes of pytest, or of other users, may start the launcher at once.
os.environ['PORT'] = str(free_port())

# The tools as a person runs them, in processes of their own, on configs of tiny size.
RUNTIME = """
default_scope = {scope!r}
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1), logger=dict(type='LoggerHook', interval=1))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3),
                     constructor='mmbeitv2.LayerDecayOptimWrapperConstructor')
train_cfg = dict(by_epoch=True, max_epochs=2)
randomness = dict(seed=0)
"""
LOADER = """
train_dataloader = dict(batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
                        collate_fn=dict(type='default_collate'), drop_last=True,
                        dataset=dict(type='mmbeitv2.ImageFolder', data_root={root!r}, with_label={label},
                                     pipeline={pipeline}))
"""
CROP = [dict(type='mmbeitv2.LoadImage'), dict(type='mmpretrain.RandomResizedCrop', scale=32)]
MASKED = [
    *CROP,
    dict(type='mmbeitv2.BlockMaskGenerator', grid_size=4, num_masked=6, min_block=2),
    dict(type='mmbeitv2.PackMaskedImage'),
]


def write_config(tmp_path: Path, text: str) -> str:
    path = tmp_path / 'tiny.py'
    path.write_text(text)
    return str(path)


def pretraining_config(tmp_path: Path, root: Path, **changes: object) -> str:
    text = RUNTIME.format(scope='mmpretrain') + LOADER.format(root=str(root), label=False, pipeline=MASKED)
    return write_config(tmp_path, text + f'model = {tiny_pretraining(**changes)!r}\n')


def classification_config(tmp_path: Path, root: Path, width: int = 32, backbone: dict | None = None) -> str:
    pipeline = [*CROP, dict(type='mmpretrain.PackInputs')]
    arch = dict(embed_dims=width, depth=2, num_heads=2)
    model = dict(
        type='ImageClassifier',
        backbone=backbone or tiny_vit(arch=arch, rel_pos_bias='per_layer', final_norm='fc_norm'),
        head=dict(type='LinearClsHead', num_classes=2, in_channels=width, topk=(1,)),
    )
    text = RUNTIME.format(scope='mmpretrain') + LOADER.format(root=str(root), label=True, pipeline=pipeline)
    text += f'model = {model!r}\ndata_preprocessor = dict(num_classes=2, mean=[128]*3, std=[64]*3)\n'
    text += 'test_dataloader = dict(train_dataloader, drop_last=False)\ntest_cfg = dict()\n'
    return write_config(tmp_path, text + "test_evaluator = dict(type='Accuracy', topk=(1,))\n")


def run(*command: str, ok: bool = True, cwd: Path | None = None, gpus: str = '') -> str:
    environment = os.environ | {
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        'CUDA_VISIBLE_DEVICES': gpus,
    }
    result = subprocess.run(command, capture_output=True, text=True, cwd=cwd or ROOT, env=environment, timeout=1200)
    assert (result.returncode == 0) == ok, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout + result.stderr


def train(config: str, work_dir: Path, *options: str, ok: bool = True, gpus: str = '') -> str:
    return run(sys.executable, 'tools/train.py', config, '--work-dir', str(work_dir), *options, ok=ok, gpus=gpus)


def run_tool(name: str, *arguments: str) -> None:
    """A tool in this process, where no second ``import torch`` is waited for; ends as ``main`` does."""
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    MMLogger._instance_dict.clear()  # logs are named by the second: the next tool would write into the former's
    module.main(list(arguments))


def refused(capsys: pytest.CaptureFixture, name: str, *arguments: str, code: int = 1) -> str:
    """The sentence with which a tool, in this process, refuses its arguments: the last line on the screen."""
    with pytest.raises(SystemExit) as end:
        run_tool(name, *arguments)
    assert end.value.code == code
    sentence = last_line(capsys.readouterr().err)
    assert ': error: ' in sentence
    return sentence


def table_of(folder: Path) -> Path:
    """The images of a folder as a table beside it, made as docs/guides/data.md says."""
    from datasets import load_dataset

    out = folder.with_name(f'{folder.name}-table')
    table = load_dataset('imagefolder', data_dir=str(folder), split='train', cache_dir=str(folder.parent / 'cache'))
    table.save_to_disk(out, max_shard_size='20KB')
    return out


def on_table(config: str, folder: Path) -> str:
    """The text of a config that reads a folder, reading a table of it instead."""
    in_folder = f"type='mmbeitv2.ImageFolder', data_root={str(folder)!r}"
    assert in_folder in config
    return config.replace(in_folder, f"type='mmbeitv2.HuggingFaceImages', path={str(table_of(folder))!r}")


def last_line(output: str) -> str:
    return output.strip().splitlines()[-1]


# Runs that can be repeated and resumed exactly.
EXACT_RUNTIME = """
default_scope = 'mmpretrain'
default_hooks = dict(checkpoint=dict(type='mmbeitv2.AtomicCheckpointHook', interval=1, max_keep_ckpts=1),
                     logger=dict(type='LoggerHook', interval=1))
custom_hooks = [dict(type='mmbeitv2.SeedStepHook')]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3), clip_grad=dict(max_norm=3.0),
                     constructor='mmbeitv2.LayerDecayOptimWrapperConstructor')
param_scheduler = [dict(type='LinearLR', start_factor=0.1, begin=0, end=1, convert_to_iter_based=True),
                   dict(type='CosineAnnealingLR', T_max=3, begin=1, end=4, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=4)
randomness = dict(seed=5)
"""
EXACT_LOADER = """
train_dataloader = dict(batch_size=4, num_workers=2, persistent_workers=True, collate_fn=dict(type='default_collate'),
                        sampler=dict(type='mmbeitv2.SeededSampler', shuffle=True),
                        dataset=dict(type='mmbeitv2.ImageFolder', data_root={root!r}, pipeline={pipeline}))
"""
EXACT_CROP = [
    dict(type='mmbeitv2.SeedSample'),
    dict(type='mmbeitv2.LoadImage'),
    dict(type='RandomResizedCrop', scale=32),
    dict(type='RandomFlip', prob=0.5),
]
EXACT_MASKED = [
    *EXACT_CROP,
    dict(type='mmbeitv2.DrawColorJitter'),
    dict(type='mmbeitv2.BlockMaskGenerator', grid_size=4, num_masked=6, min_block=2),
    dict(type='mmbeitv2.PackMaskedImage'),
]


def resumable_pretraining(root: Path) -> str:
    backbone = tiny_vit(out_indices=(0, 1), out_type='raw', final_norm='norm', use_mask_token=True, drop_path_rate=0.3)
    model = tiny_pretraining(backbone=backbone)
    # The tokenizer has random weights, by randomness.seed the same in every run.
    return EXACT_RUNTIME + EXACT_LOADER.format(root=str(root), pipeline=EXACT_MASKED) + f'model = {model!r}\n'


def resumable_lora(root: Path) -> str:
    """The weights under the LoRA layers are random, and in no checkpoint."""
    vit = tiny_vit(out_indices=(0, 1), out_type='raw', final_norm='norm', use_mask_token=True, drop_path_rate=0.3)
    lora = dict(type='mmbeitv2.LoRABackbone', module=vit, alpha=4, rank=2, targets=[dict(type='qkv'), dict(type='fc1')])
    model = tiny_pretraining(backbone=lora | dict(trained=['mask_token'], drop_rate=0.2))
    return EXACT_RUNTIME + EXACT_LOADER.format(root=str(root), pipeline=EXACT_MASKED) + f'model = {model!r}\n'


def resumable_tokenizer(root: Path) -> str:
    quantizer = dict(type='mmbeitv2.NormEMAVectorQuantizer', num_codes=16, code_dim=8, dead_code_steps=2)
    model = tiny_tokenizer(
        quantizer=quantizer,
        teacher=TEACHER | dict(pretrained=str(root.parent / 'teacher.pth')),
        target_dims=None,
        data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
    )
    return (
        EXACT_RUNTIME
        + EXACT_LOADER.format(root=str(root), pipeline=[*EXACT_CROP, dict(type='PackInputs')])
        + f'model = {model!r}\n'
    )


def resumable_kmeans(root: Path) -> str:
    model = tiny_kmeans(
        quantizer=dict(type='mmbeitv2.SphericalKMeans', num_codes=40, dead_code_steps=2),
        teacher=TEACHER | dict(pretrained=str(root.parent / 'teacher.pth')),
        data_preprocessor=dict(type='mmpretrain.ClsDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
    )
    loader = EXACT_LOADER.format(root=str(root), pipeline=[*EXACT_CROP, dict(type='PackInputs')])
    runtime = EXACT_RUNTIME.partition('optim_wrapper')[0] + 'randomness = dict(seed=5)\n'
    schedule = (ROOT / 'configs/_base_/schedules/kmeans_1e.py').read_text().partition('val_cfg')[0]
    return f'{runtime}{loader}{schedule}train_cfg.update(max_epochs=4)\nmodel = {model!r}\n'


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``gpu`` are skipped where there is no GPU."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker('gpu') is not None:
                item.add_marker(pytest.mark.skip(reason='needs a GPU'))
