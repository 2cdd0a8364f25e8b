"""Data-parallel training by PyTorch's DistributedDataParallel: two processes do what one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch_cases import assert_close

import torch  # isort: skip  (after torch_cases, which skips where it is not installed)
from cellgate.torch import LSTM, accelerate
from torch.nn.parallel import DistributedDataParallel

STEPS, BATCH, PROCESSES = 50, 6, 2


class Model(torch.nn.Module):
    """Reads a sequence and predicts its next value."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.lstm = torch.nn.LSTM(2, 16, num_layers=2, bidirectional=True)
        self.linear = torch.nn.Linear(32, 2)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.lstm(x)
        return self.linear(y[-1])


def joint_batch(step: int) -> torch.Tensor:
    """(T, BATCH, 2): pieces of waves, with the value to predict as the last step."""
    start = torch.arange(BATCH) * 0.7 + 0.1 * step
    t = start + 0.4 * torch.arange(10, dtype=torch.float64)[:, None]
    return torch.stack([t.sin(), (0.5 * t).cos()], dim=-1)


def train(model: Any, rows: slice) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The loss at each step, on these rows of the joint batch; and the weights in the end."""
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for step in range(STEPS):
        batch = joint_batch(step)[:, rows]
        optimizer.zero_grad()
        loss = (model(batch[:-1]) - batch[-1]).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses, [parameter.detach() for parameter in model.parameters()]


def one_of_several(rank: int, folder: Path, when: str) -> None:
    """What each process runs; `when` says whether to accelerate before or after wrapping."""
    torch.set_num_threads(1)
    rendezvous = f"file://{folder / 'rendezvous'}"
    torch.distributed.init_process_group(
        "gloo", init_method=rendezvous, rank=rank, world_size=PROCESSES
    )
    model = Model()
    if when == "before":
        accelerate(model)
    parallel = DistributedDataParallel(model)
    if when == "after":
        accelerate(parallel)
    assert type(model.lstm) is LSTM
    share = BATCH // PROCESSES
    result = train(parallel, slice(rank * share, (rank + 1) * share))
    torch.save(result, folder / f"{rank}.pt")
    del parallel, model, result  # docs/pytorch.md says why
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("when", ["before", "after"])
def test_two_processes_do_what_one_does(tmp_path: Path, when: str) -> None:
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "CELLGATE_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(tmp_path), when],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        for rank in range(PROCESSES)
    ]
    try:
        outputs = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * PROCESSES, "\n".join(outputs)

    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)]
    losses = [torch.stack(both).mean() for both in zip(*(loss for loss, _ in found), strict=True)]
    model = Model()
    accelerate(model)
    wanted_losses, wanted_weights = train(model, slice(None))
    assert_close("gradients", losses, wanted_losses, "float64")
    assert wanted_losses[-1] < wanted_losses[0] / 5
    for _, weights in found:
        assert_close("gradients", weights, wanted_weights, "float64")

    assert_close("gradients", losses, train(Model(), slice(None))[0], "float64")  # torch alone


if __name__ == "__main__":
    one_of_several(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
