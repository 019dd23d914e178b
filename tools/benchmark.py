"""Measures a training step or the data pipeline against a peer: both in one process, in turn, medians and their ratio.

    python tools/benchmark.py tokenizer --json tokenizer.json
    python tools/benchmark.py quantizer --json quantizer.json
    python tools/benchmark.py pretrain --peer mmpretrain --json pretrain.json
    python tools/benchmark.py segment --json segment.json
    python tools/benchmark.py data --peer mmpretrain --json data.json

``tokenizer``: VQ-KD at full size, against the same with the usual one-hot quantizer and attention written out.
``quantizer``: the quantizer of that step alone.
``pretrain``: BEiT v2, against mmpretrain's BEiT v2 of the same architecture, batch and precision.
``segment``: UperNet at 512x512 on our backbone, against the same on mmseg's BEiT.
``data``: the pretraining pipeline on one core, against mmpretrain's, on 500x375 JPEGs of its own or on --images DIR;
and the milliseconds of each transform.
Weights and images are random; no download is needed. The JSON has ``ours`` and ``peer`` in images/s, ``ratio`` = ours /
peer, and for the steps ``memory_ratio``, the same of the peak memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import mmpretrain
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmbeitv2.apis.config import add_cfg_options, merge_options
from mmbeitv2.datasets import find_images
from mmbeitv2.datasets.seeding import SampleIndex
from mmbeitv2.errors import InputError, one_sentence_errors
from mmbeitv2.models import NormEMAVectorQuantizer
from mmbeitv2.models.layers import Attention
from mmbeitv2.models.tokenizers.quantizer import l2norm

ROOT = Path(__file__).resolve().parents[1]
PEER_CONFIG = 'beitv2/beitv2_beit-base-p16_8xb256-amp-coslr-1600e_in1k.py'
# Floating point operations per image of a pretraining step with ViT-B, in units of 1e9: backbone forward and backward
# 105, neck 18, head 6, tokenizer forward 35 (docs/benchmarks.md).
PRETRAIN_GFLOP = 163


class OneHotQuantizer(NormEMAVectorQuantizer):
    """The usual way: distances under autograd, the (tokens, K) one-hot matrix, and its product with the features."""

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        height, width = z.shape[-2:]
        with torch.autocast(z.device.type, enabled=False):
            z = l2norm(z.float().flatten(2).transpose(1, 2))  # (B, N, D)
            flat, weight = z.flatten(0, 1), self.embedding.weight
            distances = flat.square().sum(1, keepdim=True) + weight.square().sum(1) - 2 * flat @ weight.T
            codes = distances.argmin(dim=1)
            one_hot = F.one_hot(codes, self.num_codes).to(flat.dtype)
            quantized = weight[codes].view_as(z)
            if self.training:
                counts, sums = one_hot.sum(0), one_hot.T @ flat.detach()
                self.cluster_size.lerp_(counts, 1 - self.decay)
                means = torch.where(counts[:, None] > 0, l2norm(sums), weight)
                weight.copy_(l2norm(torch.lerp(means, weight, self.decay)))
            loss = self.beta * F.mse_loss(z, quantized)
            quantized = z + (quantized - z).detach()
        return quantized.transpose(1, 2).unflatten(2, (height, width)), loss, codes.view(len(z), -1)


class WrittenOutAttention(Attention):
    """Attention by its formula on every device."""

    def forward(self, x: Tensor, rel_pos_bias: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        assert context is None  # which only pretraining gives
        q, k, v = self.project(x)
        return self.proj((self.probabilities(q, k, rel_pos_bias) @ v).transpose(1, 2).flatten(2))


def tokenizer_step(is_ours: bool, args: argparse.Namespace) -> Callable[[], None]:
    """A step of VQ-KD; the teacher is CLIP's ViT-B/16 with random weights."""
    cfg = load_config(ROOT / 'configs/tokenizer/vqkd_vit-b_3x768x12-clip_100e.py')
    cfg.model.teacher = dict(
        type='mmbeitv2.TimmTeacher', model='vit_base_patch16_clip_quickgelu_224', pretrained=False, img_size=224
    )
    cfg.model.quantizer.kmeans_init = False  # which would want as many patches as codes in the first batch
    model = MODELS.build(cfg.model)
    model.init_weights()
    if not is_ours:
        model.quantize.__class__ = OneHotQuantizer
        write_attention_out(model)
    return make_step(model, {'inputs': random_images(args.batch_size)}, args, is_ours)


def quantizer_step(is_ours: bool, args: argparse.Namespace) -> Callable[[], None]:
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


def pretrain_step(is_ours: bool, args: argparse.Namespace) -> Callable[[], None]:
    """A step of pretraining; the tokenizer has random weights."""
    images = random_images(args.batch_size)
    mask = torch.zeros(args.batch_size, 196, dtype=torch.bool)
    for row in mask:
        row[torch.randperm(196)[:75]] = True
    if is_ours:
        cfg = load_config(ROOT / 'configs/beitv2_vit-b_1600e.py')
        cfg.model.tokenizer.init_cfg = None
        data: dict = {'inputs': images, 'mask': mask, 'jitter': torch.tensor([[0, 1.1], [1, 0.9], [2, 1.2]])}
        data['jitter'] = data['jitter'].expand(args.batch_size, -1, -1)
    else:
        cfg = load_config(peer_config())
        cfg.model.target_generator.init_cfg = None
        cfg.model.target_generator.quantize_kmeans_init = False
        cfg.model.data_preprocessor = cfg.data_preprocessor
        data = {'inputs': [images, images], 'data_samples': peer_samples(mask)}
    model = MODELS.build(cfg.model)
    model.init_weights()
    return make_step(model, data, args, is_ours, clip_grad=dict(max_norm=3.0))


def peer_samples(mask: Tensor) -> list:
    from mmpretrain.structures import DataSample

    return [DataSample().set_mask(row.view(14, 14)) for row in mask]


def segment_step(is_ours: bool, args: argparse.Namespace) -> Callable[[], None]:
    """A step of segmentation; the two differ in their backbone alone."""
    cfg = load_config(ROOT / 'configs/segmentation/beitv2-1600e_vit-b_upernet_160k_ade20k-512x512.py')
    cfg.model.backbone.init_cfg = None
    if not is_ours:
        cfg.model.backbone = dict(
            type='BEiT', img_size=(512, 512), out_indices=(3, 5, 7, 11), drop_path_rate=0.1, init_values=0.1
        )
    for part in (cfg.model.neck, cfg.model.decode_head, cfg.model.auxiliary_head):
        part.norm_cfg.type = 'BN'  # one process
    model = MODELS.build(cfg.model)
    model.init_weights()
    samples = []
    for _ in range(args.batch_size):
        labels = torch.randint(0, 150, (1, 512, 512))
        sample = SegDataSample(metainfo=dict(img_shape=(512, 512)), gt_sem_seg=PixelData(data=labels))
        samples.append(sample)
    images = list(torch.randint(0, 256, (args.batch_size, 3, 512, 512), dtype=torch.uint8))
    return make_step(model, {'inputs': images, 'data_samples': samples}, args, is_ours)


def make_step(
    model: BaseModel, data: dict, args: argparse.Namespace, is_ours: bool, clip_grad: dict | None = None
) -> Callable[[], None]:
    """One call is one step: preprocessing, forward, backward, clipping, AdamW (ours fused, as in our configs)."""
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
        wrapper = AmpOptimWrapper(optimizer=optimizer, clip_grad=clip_grad, dtype=args.amp)

    def step() -> None:
        model.train_step(data, wrapper)
        if args.device == 'cuda':
            torch.cuda.synchronize()

    return step


def write_attention_out(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, Attention):
            module.__class__ = WrittenOutAttention


def random_images(count: int) -> Tensor:
    """(count, 3, 224, 224) uint8."""
    return torch.randint(0, 256, (count, 3, 224, 224), dtype=torch.uint8)


def load_config(path: Path) -> Config:
    cfg = Config.fromfile(str(path))
    DefaultScope._instance_dict.clear()  # peers live in one process
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    return cfg


def peer_config() -> Path:
    """mmpretrain's own config of BEiT v2, which it installs with itself."""
    path = Path(mmpretrain.__path__[0]) / '.mim/configs' / PEER_CONFIG
    if not path.is_file():
        raise InputError(f'mmpretrain has no config {str(path)!r}: install mmpretrain by pip, not from a checkout')
    return path


STEPS = {
    'tokenizer': tokenizer_step,
    'quantizer': quantizer_step,
    'pretrain': pretrain_step,
    'segment': segment_step,
}


def measure_step(args: argparse.Namespace) -> dict:
    """Time and memory of a step of both."""
    result: dict = {
        'device': torch.cuda.get_device_name() if args.device == 'cuda' else f'CPU, {torch.get_num_threads()} threads',
        'batch_size': args.batch_size,
        'amp': args.amp,
        'compiled': args.compile,
    }
    memory = {}
    if args.device == 'cpu':
        memory = {name: peak_of_process(args, name == 'ours') for name in ('ours', 'peer')}
    steps = {}
    for name in ('ours', 'peer'):
        if args.device == 'cuda':
            before = torch.cuda.memory_allocated()
        steps[name] = STEPS[args.what](name == 'ours', args)
        for _ in range(3 if args.device == 'cuda' else 1):
            steps[name]()
        if args.device == 'cuda':
            torch.cuda.reset_peak_memory_stats()
            steps[name]()
            memory[name] = torch.cuda.max_memory_allocated() - before
    seconds = alternate(steps, args.repeats)
    result |= {name: args.batch_size / statistics.median(values) for name, values in seconds.items()}
    result['ratio'] = result['ours'] / result['peer']
    result |= {f'{name}_memory_gib': value / 2**30 for name, value in memory.items()}
    result['memory_ratio'] = memory['ours'] / memory['peer']
    if args.what == 'pretrain':
        rate = matmul_rate(args)
        result['matmul_tflops'] = rate / 1e12
        result['share_of_matmul_rate'] = result['ours'] * PRETRAIN_GFLOP * 1e9 / rate
    return result


def alternate(calls: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, the calls taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def peak_of_process(args: argparse.Namespace, is_ours: bool) -> int:
    """Largest resident memory in bytes of a process that takes two steps."""
    context = multiprocessing.get_context('spawn')
    with context.Pool(1) as pool:
        return pool.apply(_peak_of_this_process, (args, is_ours))


def _peak_of_this_process(args: argparse.Namespace, is_ours: bool) -> int:
    step = STEPS[args.what](is_ours, args)
    step()
    step()
    return 1024 * int(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1])  # type: ignore[index]


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


def measure_data(args: argparse.Namespace) -> dict:
    """Images/s of both pipelines on one core."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    ours = merge_options(load_config(args.config), args.cfg_options).train_dataloader.dataset.pipeline
    peer = Config.fromfile(str(peer_config())).train_dataloader.dataset.pipeline
    with tempfile.TemporaryDirectory() as folder:
        if args.images is None:
            images, files = '500x375 JPEG', write_jpegs(Path(folder), 64)
        else:
            images, files = str(args.images), spread(args.images, 64)
        kilobytes = statistics.mean(Path(file).stat().st_size for file in files) / 1000
        calls: dict[str, Callable[[], None]] = {}
        shares: dict[str, dict[str, float]] = {}
        for name, pipeline in (('ours', ours), ('peer', peer)):
            init_default_scope('mmpretrain')
            transforms = [(step['type'].rpartition('.')[2], TRANSFORMS.build(step)) for step in pipeline]
            run_pipeline(transforms, files, defaultdict(float))  # warms up
            shares[name] = defaultdict(float)
            calls[name] = partial(run_pipeline, transforms, files, shares[name])
        seconds = alternate(calls, args.repeats)
    result: dict = {name: len(files) / statistics.median(values) for name, values in seconds.items()}
    result['ratio'] = result['ours'] / result['peer']
    for name, steps in shares.items():
        milliseconds = {step: 1000 * total / args.repeats / len(files) for step, total in steps.items()}
        result |= {f'{name}_ms_{step}': value for step, value in milliseconds.items()}
    return {'device': 'one CPU core', 'images': images, 'kilobytes_per_image': kilobytes, **result}


def spread(folder: Path, count: int) -> list[str]:
    """Up to so many images of a folder, evenly spread over it."""
    files = [str(folder / path) for path in find_images(folder)]
    return files[:: -(-len(files) // count)]


def run_pipeline(
    transforms: list[tuple[str, Callable[[dict], dict]]], files: list[str], seconds: dict[str, float]
) -> None:
    """Loads each file; adds to the seconds of the transforms, by their names."""
    for index, file in enumerate(files):
        results = {'img_path': file, 'sample_idx': SampleIndex(index, seed=0, epoch=0)}
        for name, transform in transforms:
            start = time.perf_counter()
            results = transform(results)
            seconds[name] += time.perf_counter() - start


def write_jpegs(folder: Path, count: int) -> list[str]:
    """Pictures about as rich as photographs: noise of all sizes; about 95 KiB each (the mean of ImageNet is 110)."""
    rng = np.random.default_rng(0)
    files = []
    for i in range(count):
        image = np.zeros((375, 500, 3))
        for octave in range(8):
            noise = rng.normal(size=(3 << octave, 4 << octave, 3))
            image += np.asarray(cv2.resize(noise, (500, 375), interpolation=cv2.INTER_CUBIC), float) / 1.4**octave
        pixels = (127.5 + 55 * image).clip(0, 255).astype(np.uint8)
        files.append(str(folder / f'{i}.jpg'))
        cv2.imwrite(files[-1], pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('what', choices=[*STEPS, 'data'])
    parser.add_argument('--peer', choices=['mmpretrain'], help='for pretrain and data (the only one, so the default)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the numbers to this file')
    parser.add_argument(
        '--batch-size',
        type=int,
        help='images (default, CPU/GPU: tokenizer, quantizer 8/64; pretrain 4/256; segment 2/16)',
    )
    parser.add_argument('--repeats', type=int, default=7, help='steps, or rounds over 64 images (default: %(default)s)')
    parser.add_argument(
        '--amp', choices=['none', 'bfloat16', 'float16'], help='autocast (default: bfloat16 on a GPU, none on CPU)'
    )
    parser.add_argument('--compile', action='store_true', help='torch.compile our model')
    parser.add_argument(
        '--config',
        type=Path,
        default=ROOT / 'configs/beitv2_vit-b_1600e.py',
        help='whose pipeline data measures (default: the pretraining of ViT-B)',
    )
    add_cfg_options(parser)
    parser.add_argument('--images', type=Path, metavar='DIR', help='images that data loads (default: made for it)')
    parser.add_argument('--device', choices=['cpu', 'cuda'], help='(default: the GPU if there is one)')
    args = parser.parse_args()
    with one_sentence_errors('benchmark.py'):
        MMLogger.get_instance('benchmark', log_level='WARNING')  # mmengine lists each initialised weight
        if args.repeats < 1:
            raise InputError(f'--repeats {args.repeats} must be at least 1')
        args.device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
        if args.device == 'cuda' and not torch.cuda.is_available():
            raise InputError('--device cuda: there is no GPU; leave it out')
        is_gpu = args.device == 'cuda'
        args.amp = args.amp or ('bfloat16' if is_gpu else 'none')
        sizes = {'tokenizer': (8, 64), 'quantizer': (8, 64), 'pretrain': (4, 256), 'segment': (2, 16), 'data': (64, 64)}
        args.batch_size = args.batch_size or sizes[args.what][is_gpu]
        result = {'what': args.what, **(measure_data(args) if args.what == 'data' else measure_step(args))}
        for key, value in result.items():
            sys.stdout.write(f'{key:24} {f"{value:.3f}" if isinstance(value, float) else value}\n')
        if args.json is not None:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
    main()
