"""torchvision's resnet50 as weight_formats_and_rpn.md, section A1, lists its tensors."""

WIDTHS = (64, 128, 256, 512)
BLOCKS = (3, 4, 6, 3)


def _normalisation(name, width):
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")} | {
        f"{name}.num_batches_tracked": ()
    }


def shapes():
    """Names and shapes of its 320 tensors."""
    found = {"conv1.weight": (64, 3, 7, 7), **_normalisation("bn1", 64)}
    channels = 64
    for layer, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS, strict=True), 1):
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            kernels = ((width, channels, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1))
            for i, kernel in enumerate(kernels, 1):
                found |= {f"{name}.conv{i}.weight": kernel, **_normalisation(f"{name}.bn{i}", kernel[0])}
            if block == 0:
                found[f"{name}.downsample.0.weight"] = (4 * width, channels, 1, 1)
                found |= _normalisation(f"{name}.downsample.1", 4 * width)
            channels = 4 * width
    return found | {"fc.weight": (1000, 2048), "fc.bias": (1000,)}
