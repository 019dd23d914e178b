from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from mmbeitv2_tools.runner import SafeRunner
from mmengine.fileio import get_file_backend
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmbeitv2.fileio import AtomicBackend


class Normalized(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.SyncBatchNorm(4)

    def forward(self, inputs: torch.Tensor, data_samples: object = None, mode: str = 'tensor') -> torch.Tensor:
        return self.norm(inputs)


def test_sync_bn_becomes_bn_in_several_processes_on_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('LOCAL_RANK', '0')
    dist.init_process_group('gloo', init_method=f'file://{tmp_path / "store"}', rank=0, world_size=1)
    try:
        runner = SafeRunner(
            model=Normalized(),
            work_dir=str(tmp_path),
            launcher='pytorch',
            cfg=dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', device_ids=None)),
            experiment_name=str(tmp_path),
        )
        assert not any(isinstance(module, nn.SyncBatchNorm) for module in runner.model.modules())
        assert runner.model(torch.randn(2, 4, 3, 3)).isfinite().all()
    finally:
        dist.destroy_process_group()


def test_checkpoints_are_written_whole_or_not_at_all_whatever_hook_asks_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict] = []
    monkeypatch.setattr(Runner, 'save_checkpoint', lambda self, *args, **kwargs: given.append(kwargs))
    runner = SafeRunner(model=Normalized(), work_dir=str(tmp_path), experiment_name=str(tmp_path))
    runner.save_checkpoint(str(tmp_path), 'epoch_1.pth', None)  # as mmengine's hook calls it
    backend = get_file_backend(tmp_path, backend_args=given[0]['backend_args'])
    assert isinstance(backend, AtomicBackend)
