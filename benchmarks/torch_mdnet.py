"""The steps of an MDNet frame in PyTorch, which `mdnet_speed.py` times in a process of their own, beside jaxtrack's."""

import time
from collections.abc import Callable
from typing import Any

import torch  # type: ignore[import-not-found]
from torch import nn  # type: ignore[import-not-found]
from torch.nn import functional  # type: ignore[import-not-found]

SIDE, CONTEXT, MEAN = 107, 107 / 75, 128.0
LAYOUTS = {"NCHW": torch.contiguous_format, "channels last": torch.channels_last}
POSITIVES, NEGATIVES, CANDIDATES, ITERATIONS = 32, 96, 1024, 10


def crops(pixels: torch.Tensor, boxes: torch.Tensor, layout: torch.memory_format) -> torch.Tensor:
    """Boxes `[N, 4]` of an image `uint8 [H, W, 3]` as the network wants them, `[N, 3, 107, 107]`."""
    height, width = pixels.shape[:2]
    image = (pixels.float() - MEAN).permute(2, 0, 1)[None]
    extent = CONTEXT * boxes[:, 2:]
    corner = boxes[:, :2] + (boxes[:, 2:] - extent) / 2
    steps = (torch.arange(SIDE) + 0.5) / SIDE
    x, y = ((corner[:, i, None] + steps * extent[:, i, None]) * 2 / size - 1 for i, size in enumerate((width, height)))
    shape = (len(boxes), SIDE, SIDE)
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=-1)
    found = functional.grid_sample(image.expand(len(boxes), -1, -1, -1), grid, align_corners=False)
    return found.contiguous(memory_format=layout)


def backbone() -> nn.Sequential:
    """conv1 to conv3 of VGG-M."""
    between = [nn.ReLU(), nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0), nn.MaxPool2d(3, 2)]
    last = [nn.Conv2d(256, 512, 3), nn.ReLU()]
    return nn.Sequential(nn.Conv2d(3, 96, 7, 2), *between, nn.Conv2d(96, 256, 5, 2), *between, *last)


def head() -> nn.Sequential:
    """fc4 to fc6."""
    hidden = [nn.Linear(4608, 512), nn.ReLU(), nn.Dropout(), nn.Linear(512, 512), nn.ReLU(), nn.Dropout()]
    return nn.Sequential(*hidden, nn.Linear(512, 2))


def optimiser(network: nn.Sequential) -> torch.optim.Optimizer:
    """MDNet's rates: ten times as fast in fc6, biases twice as fast and without decay."""
    groups = []
    for layer in (each for each in network if isinstance(each, nn.Linear)):
        rate = 3e-4 * (10 if layer.out_features == 2 else 1)
        groups.append({"params": [layer.weight], "lr": rate, "weight_decay": 5e-4})
        groups.append({"params": [layer.bias], "lr": 2 * rate, "weight_decay": 0.0})
    return torch.optim.SGD(groups, momentum=0.9)


def update(network: nn.Sequential, positives: torch.Tensor, negatives: torch.Tensor) -> torch.Tensor:
    """Ten iterations with the 96 hardest of 1024 negatives; the last loss."""
    steps, labels = optimiser(network), (torch.arange(POSITIVES + NEGATIVES) < POSITIVES).long()
    loss = torch.zeros(())
    for _ in range(ITERATIONS):
        network.eval()
        with torch.inference_mode():
            rows = negatives[torch.randint(len(negatives), (CANDIDATES,))]
            hardest = network(rows)[:, 1].topk(NEGATIVES).indices
            chosen = positives[torch.randint(len(positives), (POSITIVES,))]
        batch = torch.cat([chosen, rows[hardest]]).clone()
        network.train()
        loss = functional.cross_entropy(network(batch), labels)
        steps.zero_grad()
        loss.backward()
        steps.step()
    network.eval()
    return loss.detach()


def parts(job: dict[str, Any], layout: torch.memory_format) -> dict[str, Callable[[], Any]]:
    """The timed calls by their names; `job`: image, boxes and sizes of the memories, as NumPy arrays and numbers."""
    pixels, candidates, samples = (torch.from_numpy(job[name]) for name in ("pixels", "candidates", "samples"))
    network, judge = backbone().to(memory_format=layout).eval(), head().eval()  # type: ignore[call-overload]
    positives, negatives = (torch.rand(job[name], 4608) for name in ("positives", "negatives"))
    with torch.inference_mode():
        cut = crops(pixels, candidates, layout)
        seen = network(cut).flatten(1)

    def inferring(call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            with torch.inference_mode():
                return call()

        return run

    return {
        "crops": inferring(lambda: crops(pixels, candidates, layout)),
        "features": inferring(lambda: network(cut)),
        "scores": inferring(lambda: judge(seen)[:, 1].topk(5)),
        "samples": inferring(lambda: network(crops(pixels, samples, layout))),
        "update": lambda: update(judge, positives, negatives),
    }


def serve(connection: Any, job: dict[str, Any], threads: int) -> None:
    """Answers a (layout, part) with the seconds that it takes, until None comes."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    calls = {name: parts(job, layout) for name, layout in LAYOUTS.items()}
    connection.send(torch.__version__)
    while (asked := connection.recv()) is not None:
        layout, part = asked
        begun = time.perf_counter()
        calls[layout][part]()
        connection.send(time.perf_counter() - begun)
