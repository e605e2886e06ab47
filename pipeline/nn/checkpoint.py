"""The whole state of a fit, and its checkpoints: one file each, whole or absent, verified.

A file's name carries the step and the start of the SHA-256 of its bytes, so that one rename
publishes both. The two newest are kept: if the newest is damaged, the one before it is used. Random
state is not part of it, since the fit loop derives randomness from the step.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pipeline.nn.tensors import Images
from pipeline.runtime.files import atomic, file_digest

NUM_KEPT = 2
DIGEST_LENGTH = 16


@dataclass
class History:
    """What was recorded during a fit: a row of losses and learning rates per logged step.

    `snapshots[step]` are uint8 images (n, c, h, w) of the same noise at every step, if any.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    snapshots: dict[int, Images] = field(default_factory=dict)


@dataclass
class TrainingState:
    """Everything that a resumed fit needs apart from its inputs."""

    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    history: History = field(default_factory=History)

    def save(self, folder: Path, step: int) -> None:
        """Write the state after `step` steps into `folder`, then delete the oldest checkpoints."""
        content = save(self._tensors(), metadata={"rows": json.dumps(self.history.rows)})
        digest = hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]

        with atomic(folder / f"checkpoint-{step:08d}-{digest}.safetensors") as temporary:
            temporary.write_bytes(content)

        for old in newest_first(folder)[NUM_KEPT:]:
            old.unlink(missing_ok=True)

    def resume(self, folder: Path) -> int:
        """Restore the newest undamaged checkpoint in `folder`.

        Returns the number of steps before it; 0, and nothing is restored, if there is none.
        """
        for path in newest_first(folder):
            _, step, digest = path.stem.split("-")
            if file_digest(path)[:DIGEST_LENGTH] == digest:
                self._restore(path)
                return int(step)
        return 0

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {
            f"module/{name}/{key}": value.contiguous()
            for name, module in self.modules.items()
            for key, value in module.state_dict().items()
        }
        for name, optimizer in self.optimizers.items():
            for index, slots in optimizer.state_dict()["state"].items():
                for key, value in slots.items():
                    tensors[f"optimizer/{name}/{index}/{key}"] = value.contiguous()
        for step, images in self.history.snapshots.items():
            tensors[f"snapshot/{step}"] = torch.from_numpy(images)

        # Copies, because the file format refuses tensors that share memory.
        return {name: value.clone() for name, value in tensors.items()}

    def _restore(self, path: Path) -> None:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self.history.rows = json.loads(file.metadata()["rows"])

        for name, module in self.modules.items():
            module.load_state_dict(_with_prefix(tensors, f"module/{name}/"))

        for name, optimizer in self.optimizers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            for key, value in _with_prefix(tensors, f"optimizer/{name}/").items():
                index, slot = key.split("/")
                slots.setdefault(int(index), {})[slot] = value
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": slots, "param_groups": groups})
            _match_memory_format(optimizer)

        snapshots = _with_prefix(tensors, "snapshot/")
        self.history.snapshots = {
            step: snapshots[str(step)].numpy() for step in sorted(map(int, snapshots))
        }


def _match_memory_format(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer's state the memory format of its parameter.

    Fused optimizers read both in memory order: a contiguous state of a channels-last parameter
    would silently update the wrong weights.
    """
    for parameter, slots in optimizer.state.items():
        for key, value in slots.items():
            if value.shape == parameter.shape:
                slots[key] = torch.empty_like(parameter).copy_(value)


def newest_first(folder: Path) -> list[Path]:
    """Checkpoint files in `folder`, most steps first."""
    return sorted(folder.glob("checkpoint-*.safetensors"), reverse=True)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
