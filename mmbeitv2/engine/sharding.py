"""Training with parameters, gradients and optimizer state sharded over the processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import mmengine
from mmengine._strategy import DDPStrategy
from mmengine.device import get_device
from mmengine.dist import broadcast, is_main_process
from mmengine.runner.checkpoint import save_checkpoint
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map

from mmbeitv2.errors import InputError
from mmbeitv2.registry import STRATEGIES


@STRATEGIES.register_module()
class FullyShardStrategy(DDPStrategy):
    """Shards parameters, gradients and optimizer state over all processes (torch's FSDP2), block by block.

    Blocks are the members of every ``nn.ModuleList`` or ``nn.Sequential`` that the model, or a part of it, calls
    ``blocks``.

    Each block is gathered before it computes and freed afterwards (ZeRO stage 3, Rajbhandari et al. 2020). Checkpoints
    are the same as without sharding, complete tensors under the same names, so either kind of run can resume the
    other's.

    mmengine's own ``FSDPStrategy`` cannot resume with torch >= 2.1, whose argument order has changed; it clips every
    shard by its own norm, and shows the optimizer flat parameters, so that none would get weight decay.

    Args:
        kwargs: see mmengine's ``DDPStrategy``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not self.distributed:
            raise InputError(
                'FullyShardStrategy needs several processes. Start it with tools/dist_train.sh CONFIG GPUS.'
            )

    def _wrap_model(self, model: nn.Module) -> nn.Module:
        model = self.convert_model(model.to(get_device()))
        for tensor in [*model.parameters(), *model.buffers()]:
            broadcast(tensor.data)  # the ranks may have been seeded apart
        mesh = init_device_mesh(get_device(), (self.world_size,))
        for name, module in model.named_modules():
            if name.rpartition('.')[2] == 'blocks' and isinstance(module, (nn.ModuleList, nn.Sequential)):
                for block in module:
                    fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)  # in place
        if hasattr(model, 'cls_features'):  # called beside forward
            register_fsdp_forward_method(model, 'cls_features')
        return model

    def model_state_dict(self) -> dict:
        """Whole tensors on the CPU of rank 0, nothing on the others; all ranks must call it."""
        return _gather(self.model.state_dict())

    def optim_state_dict(self) -> dict:
        """Whole tensors on the CPU of rank 0, nothing on the others; all ranks must call it."""
        return _gather(super().optim_state_dict())

    def load_model_state_dict(self, state_dict: dict, **kwargs: Any) -> None:
        """Takes whole tensors; see mmengine for ``kwargs``."""
        own = self.model.state_dict()
        super().load_model_state_dict(
            {key: _shard_like(value, own.get(key)) for key, value in state_dict.items()}, **kwargs
        )

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Takes whole tensors."""
        parameters = [parameter for group in self.optim_wrapper.param_groups for parameter in group['params']]
        # Moments have the shape of their parameter; the step is a scalar, the same on all ranks.
        state = {
            index: {
                key: _shard_like(value, parameters[index]) if value.ndim else value for key, value in moments.items()
            }
            for index, moments in state_dict['state'].items()
        }
        super().load_optim_state_dict({**state_dict, 'state': state})

    def save_checkpoint(
        self,
        filename: str,
        *,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        extra_ckpt: dict | None = None,
        callback: Callable | None = None,
    ) -> None:
        """Writes a checkpoint from rank 0, whole or not at all; all ranks must call it."""
        state: dict = {'state_dict': self.model_state_dict()}
        if save_optimizer and hasattr(self, 'optim_wrapper'):
            state['optimizer'] = self.optim_state_dict()
        if save_param_scheduler and hasattr(self, 'param_schedulers'):
            state['param_schedulers'] = self.scheduler_state_dict()
        if not is_main_process():
            return
        state.update(extra_ckpt or {})
        state.setdefault('meta', {}).update(
            seed=self.seed, time=time.strftime('%Y%m%d_%H%M%S', time.localtime()), mmengine=mmengine.__version__
        )
        if callback is not None:
            callback(state)
        save_checkpoint(state, filename, backend_args=dict(backend='mmbeitv2.AtomicBackend'))


def _gather(tree: dict) -> dict:
    """Sharded tensors made whole: on the CPU of rank 0; the other ranks only take part."""

    def gather(value: Any) -> Any:
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if not is_main_process():
            return None
        return whole.cpu() if isinstance(whole, Tensor) else whole

    return tree_map(gather, tree)


def _shard_like(whole: Tensor, own: Tensor | None) -> Tensor:
    """A whole tensor spread as the model's own one is."""
    if not isinstance(own, DTensor):
        return whole
    return distribute_tensor(whole.to(own.device), own.device_mesh, own.placements)
