"""Time and memory of a step of training, and of segmenting an image."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import re
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from mmbeitv2 import CONFIGS
from mmbeitv2.tokenizers import NormEMAVectorQuantizer
from mmbeitv2_tools.benchmarks.peers import OneHotQuantizer, load_config, peer_config, peer_samples, write_attention_out
from mmbeitv2_tools.benchmarks.timing import alternate

# Floating point operations per image of a pretraining step with ViT-B, in units of 1e9: backbone forward and backward
# 105, neck 18, head 6, tokenizer forward 35 (docs/benchmarks.md).
PRETRAIN_GFLOP = 163


def tokenizer_step(is_ours: bool, args: argparse.Namespace) -> Callable[[], object]:
    """A step of VQ-KD; the teacher is CLIP's ViT-B/16 with random weights."""
    cfg = load_config(Path(CONFIGS) / 'tokenizer/vqkd_vit-b_3x768x12-clip_100e.py')
    cfg.model.teacher = dict(
        type='mmbeitv2.TimmTeacher', model='vit_base_patch16_clip_quickgelu_224', pretrained=False, img_size=224
    )
    cfg.model.quantizer.kmeans_init = False  # which would want as many patches as codes in the first batch
    model = build(cfg, args)
    if not is_ours:
        model.quantize.__class__ = OneHotQuantizer
        write_attention_out(model)
    return make_step(model, {'inputs': random_images(args.batch_size)}, args, is_ours)


def quantizer_step(is_ours: bool, args: argparse.Namespace) -> Callable[[], object]:
    """Forward and backward of the quantizer alone: 8192 codes of width 32, 196 patches per image."""
    quantizer = NormEMAVectorQuantizer(kmeans_init=False).to(args.device).train()
    if not is_ours:
        quantizer.__class__ = OneHotQuantizer
    z = torch.randn(args.batch_size, 32, 14, 14, device=args.device, requires_grad=True)

    def step() -> None:
        z.grad = None
        quantized, loss, _ = quantizer(z)
        (quantized.mean() + loss).backward()
        if args.device == 'cuda':
            torch.cuda.synchronize()

    return step


def pretrain_step(is_ours: bool, args: argparse.Namespace) -> Callable[[], object]:
    """A step of pretraining; the tokenizer has random weights."""
    images = random_images(args.batch_size)
    mask = torch.zeros(args.batch_size, 196, dtype=torch.bool)
    for row in mask:
        row[torch.randperm(196)[:75]] = True
    if is_ours:
        cfg = load_config(Path(CONFIGS) / 'beitv2_vit-b_1600e.py')
        cfg.model.tokenizer.init_cfg = None
        data: dict = {'inputs': images, 'mask': mask, 'jitter': torch.tensor([[0, 1.1], [1, 0.9], [2, 1.2]])}
        data['jitter'] = data['jitter'].expand(args.batch_size, -1, -1)
    else:
        cfg = load_config(peer_config())
        cfg.model.target_generator.init_cfg = None
        cfg.model.target_generator.quantize_kmeans_init = False
        cfg.model.data_preprocessor = cfg.data_preprocessor
        data = {'inputs': [images, images], 'data_samples': peer_samples(mask)}
    return make_step(build(cfg, args), data, args, is_ours, clip_grad=dict(max_norm=3.0))


def build_segmentor(is_ours: bool, args: argparse.Namespace, **changes: object) -> BaseModel:
    """UperNet; the peer has mmseg's backbone and head."""
    cfg = load_config(Path(CONFIGS) / 'segmentation/beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py')
    cfg.model.update(changes)
    cfg.model.backbone.init_cfg = None
    if not is_ours:
        cfg.model.backbone = dict(
            type='BEiT', img_size=(512, 512), out_indices=(3, 5, 7, 11), drop_path_rate=0.1, init_values=0.1
        )
        cfg.model.decode_head.type = 'UPerHead'
    for part in (cfg.model.neck, cfg.model.decode_head, cfg.model.auxiliary_head):
        part.norm_cfg.type = 'BN'  # one process
    return build(cfg, args)


def segment_step(is_ours: bool, args: argparse.Namespace) -> Callable[[], object]:
    """A step of segmentation."""
    side = TINY_SIDE if args.tiny else 512
    samples = []
    for _ in range(args.batch_size):
        labels = torch.randint(0, 150, (1, side, side))
        sample = SegDataSample(metainfo=dict(img_shape=(side, side)), gt_sem_seg=PixelData(data=labels))
        samples.append(sample)
    images = list(torch.randint(0, 256, (args.batch_size, 3, side, side), dtype=torch.uint8))
    return make_step(build_segmentor(is_ours, args), {'inputs': images, 'data_samples': samples}, args, is_ours)


def segment_image(mode: str, is_ours: bool, args: argparse.Namespace) -> Callable[[], object]:
    """Segments an image: ``'slide'``, 683 pixels wide and 512 high by two crops; ``'whole'``, 512x512 (mmseg's BEiT
    takes no other size)."""
    side = TINY_SIDE if args.tiny else 512
    shape = (side, 4 * side // 3 if mode == 'slide' else side)
    changes = dict(test_cfg=dict(mode='whole')) if mode == 'whole' else {}
    model = build_segmentor(is_ours, args, **changes).to(args.device).eval()
    if is_ours and args.compile:
        model.backbone.compile()
    sample = SegDataSample(metainfo=dict(img_shape=shape, ori_shape=shape))
    data = {'inputs': [torch.randint(0, 256, (3, *shape), dtype=torch.uint8)], 'data_samples': [sample]}

    @torch.no_grad()
    def step() -> None:
        with torch.autocast(args.device, getattr(torch, args.amp, None), enabled=args.amp != 'none'):
            model.test_step(data)
        if args.device == 'cuda':
            torch.cuda.synchronize()

    return step


# Width and side of images at tiny size, which shows that all runs where there is no GPU.
TINY_WIDTH, TINY_SIDE = 48, 128
_TINY_ARCH = dict(embed_dims=TINY_WIDTH, num_heads=12)
_TINY = {
    768: TINY_WIDTH,
    512: TINY_SIDE,
    341: 85,
    (512, 512): (TINY_SIDE, TINY_SIDE),
    (341, 341): (85, 85),
}


def build(cfg: Config, args: argparse.Namespace) -> BaseModel:
    """The model of a config with its initial weights; with ``args.tiny`` of small width."""
    if args.with_cp and cfg.model.get('backbone', {}).get('type') == 'mmbeitv2.BEiTv2ViT':
        cfg.model.backbone.with_cp = True
    if args.tiny:
        cfg.model = shrink(cfg.model)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def shrink(settings: Any) -> Any:
    """The settings of a model of small width, ours or a peer's."""
    if isinstance(settings, list):
        return [shrink(value) for value in settings]
    if not isinstance(settings, dict):
        return _TINY.get(settings, settings)
    tiny = {key: shrink(value) for key, value in settings.items()}
    kind = tiny.get('type', '')
    for key in ('arch', 'backbone_arch'):
        if tiny.get(key) == 'base' and str(kind).startswith('mmbeitv2.'):
            tiny[key] = {**_TINY_ARCH, 'depth': 12}
        elif tiny.get(key) == 'base':
            tiny[key] = {**_TINY_ARCH, 'depth': 12, 'num_layers': 12, 'feedforward_channels': 4 * TINY_WIDTH}
    if kind == 'BEiT' and 'init_values' in tiny:  # mmseg's
        tiny['embed_dims'] = TINY_WIDTH
    if kind == 'mmbeitv2.TimmTeacher':
        tiny['model'] = 'vit_tiny_patch16_224'
    return tiny


class TrainingStep:
    """One call is one step, and gives the loss: preprocessing, forward, backward, clipping, AdamW.

    Args:
        model: on its device.
        data: what the model's data preprocessor takes.
        wrapper: of the optimizer.
    """

    def __init__(self, model: BaseModel, data: dict, wrapper: OptimWrapper) -> None:
        self.model, self.data, self.wrapper = model, data, wrapper

    def __call__(self) -> float:
        losses = self.model.train_step(self.data, self.wrapper)
        return losses['loss'].item()  # which waits for the GPU


def make_step(
    model: BaseModel, data: dict, args: argparse.Namespace, is_ours: bool, clip_grad: dict | None = None
) -> TrainingStep:
    """A step of training (ours with fused AdamW, as in our configs)."""
    model = model.to(args.device).train()
    if is_ours and args.compile:
        model.compile()
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-5, fused=is_ours or None
    )
    wrapper: OptimWrapper
    if args.amp == 'none':
        wrapper = OptimWrapper(optimizer, clip_grad=clip_grad)
    else:
        # As tools/train.py --amp; mmengine scales the loss in bfloat16 too, which makes the host wait for the device.
        scaled = not (is_ours and args.amp == 'bfloat16')
        loss_scale = 'dynamic' if scaled else dict(enabled=False)
        wrapper = AmpOptimWrapper(loss_scale, args.amp, optimizer=optimizer, clip_grad=clip_grad)
    return TrainingStep(model, data, wrapper)


def random_images(count: int) -> Tensor:
    """(count, 3, 224, 224) uint8."""
    return torch.randint(0, 256, (count, 3, 224, 224), dtype=torch.uint8)


STEPS: dict[str, Callable[[bool, argparse.Namespace], Callable[[], object]]] = {
    'tokenizer': tokenizer_step,
    'quantizer': quantizer_step,
    'pretrain': pretrain_step,
    'segment': segment_step,
    'segment_slide': partial(segment_image, 'slide'),
    'segment_whole': partial(segment_image, 'whole'),
}


def measure_step(args: argparse.Namespace) -> dict:
    """Time and memory of a step of both; of segmentation, also of segmenting one image."""
    result: dict = {
        'device': torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, {torch.get_num_threads()} threads',
        'batch_size': args.batch_size,
        'amp': args.amp,
        'compiled': args.compile,
        **compare(args.what, args.batch_size, args),
    }
    if args.what == 'pretrain':
        rate = matmul_rate(args)
        result['matmul_tflops'] = rate / 1e12
        result['share_of_matmul_rate'] = result['ours'] * PRETRAIN_GFLOP * 1e9 / rate
    if args.what == 'segment':
        for mode in ('slide', 'whole'):
            result |= {f'{mode}_{key}': value for key, value in compare(f'segment_{mode}', 1, args).items()}
    return result


def compare(name: str, num_images: int, args: argparse.Namespace) -> dict:
    """Images/s and peak memory of both, and their ratios.

    Args:
        name: of :data:`STEPS`.
        num_images: images of a step.
        args: of ``tools/benchmark.py``.
    """
    memory = {}
    if args.device == 'cpu':
        memory = {side: peak_of_process(name, side == 'ours', args) for side in ('ours', 'peer')}
    steps = {}
    for side in ('ours', 'peer'):
        if args.device == 'cuda':
            before = torch.cuda.memory_allocated()
        steps[side] = STEPS[name](side == 'ours', args)
        for _ in range(3 if args.device == 'cuda' else 1):
            steps[side]()
        if args.device == 'cuda':
            torch.cuda.reset_peak_memory_stats()
            steps[side]()
            memory[side] = torch.cuda.max_memory_allocated() - before
    seconds = alternate(steps, args.repeats)
    steps.clear()
    gc.collect()  # frees the models
    result = {side: num_images / statistics.median(values) for side, values in seconds.items()}
    result['ratio'] = result['ours'] / result['peer']
    result |= {f'{side}_memory_gib': value / 2**30 for side, value in memory.items()}
    result['memory_ratio'] = memory['ours'] / memory['peer']
    return result


def peak_of_process(name: str, is_ours: bool, args: argparse.Namespace) -> int:
    """Largest resident memory in bytes of a process that takes two steps."""
    context = multiprocessing.get_context('spawn')
    with context.Pool(1) as pool:
        return pool.apply(_peak_of_this_process, (name, is_ours, args))


def _peak_of_this_process(name: str, is_ours: bool, args: argparse.Namespace) -> int:
    quiet()
    step = STEPS[name](is_ours, args)
    step()
    step()
    return 1024 * int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1])  # type: ignore[index]


def quiet() -> None:
    """Keeps mmengine from listing each initialized weight."""
    MMLogger.get_instance('benchmark', log_level='WARNING')


def matmul_rate(args: argparse.Namespace) -> float:
    """Floating point operations per second of a large product in the precision of the step."""
    side = 8192 if args.device == 'cuda' else 2048
    dtype = torch.float32 if args.amp == 'none' else getattr(torch, args.amp)
    a, b = (torch.randn(side, side, device=args.device, dtype=dtype) for _ in range(2))

    def multiply() -> None:
        a @ b
        if args.device == 'cuda':
            torch.cuda.synchronize()

    multiply()
    return 2 * side**3 / statistics.median(alternate({'matmul': multiply}, 10)['matmul'])
