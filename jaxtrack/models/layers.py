"""What the Siamese networks are built of: convolution with batch normalisation, its folding, pooling.

Maps are `float32 [B, H, W, C]` and kernels `[height, width, in, out]`; all padding is explicit and symmetric, as in
the published PyTorch networks ("SAME" differs from it at stride 2). Given bfloat16 maps, layers compute in bfloat16;
their parameters are float32 all the same.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxtrack.models import winograd
from jaxtrack.models.normalisation import EPSILON, BatchNorm

# PyTorch's default: uniform in +-1/sqrt(fan in).
TORCH_DEFAULT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# Normal with standard deviation sqrt(2 / (k k channels out)), also for depth-wise kernels.
HE_FAN_OUT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def shifted_products(x: jax.Array, kernel: jax.Array, stride: int = 1, dilation: int = 1) -> jax.Array:
    """A valid depth-wise correlation as a sum of products with shifted maps.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[B or 1, h, w, C]`, one kernel for each sample or one for all.
      stride: of the output, in cells.
      dilation: distance of the kernel's taps, in cells.

    Returns:
      `[B, (H - dilation (h - 1) - 1) // stride + 1, ..., C]`.
    """
    batch, height, width, channels = x.shape
    taps_y, taps_x = kernel.shape[1:3]
    rows = (height - dilation * (taps_y - 1) - 1) // stride
    columns = (width - dilation * (taps_x - 1) - 1) // stride
    out = jnp.zeros((), x.dtype)
    for i in range(taps_y):
        for j in range(taps_x):
            top, left = i * dilation, j * dilation
            end = (batch, top + rows * stride + 1, left + columns * stride + 1, channels)
            window = jax.lax.slice(x, (0, top, left, 0), end, (1, stride, stride, 1))
            out = out + window * kernel[:, i : i + 1, j : j + 1]
    return out


def pad(x: jax.Array, padding: int) -> jax.Array:
    """Zeros around maps, `padding` cells on every side."""
    return jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0))) if padding else x


def depthwise_method() -> Literal["shifted", "grouped"]:
    """How this platform computes depth-wise products: XLA's grouped convolution is many times slower on CPUs."""
    return "shifted" if jax.default_backend() == "cpu" else "grouped"


def depthwise_conv(
    x: jax.Array,
    kernel: jax.Array,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    method: Literal["shifted", "grouped"] | None = None,
) -> jax.Array:
    """A depth-wise convolution; `[B, H, W, C]` with `[h, w, 1, C]` to `[B, H', W', C]`.

    Args:
      x: maps.
      kernel: the only one, or `[h, w, 1, C]` as a grouped convolution stores it.
      stride: in cells.
      padding: zeros on every side, in cells.
      dilation: distance of the kernel's taps, in cells.
      method: a sum of shifted products or XLA's grouped convolution; None chooses by platform at trace time.
    """
    if (method or depthwise_method()) == "shifted":
        return shifted_products(pad(x, padding), kernel[None, :, :, 0], stride, dilation)
    return convolve(x, kernel, stride, padding, dilation, groups=x.shape[-1])


def convolve(
    x: jax.Array, kernel: jax.Array, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
) -> jax.Array:
    """XLA's convolution; `[B, H, W, C]` with `[h, w, C / groups, O]` to `[B, H', W', O]`."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((padding, padding), (padding, padding)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=_LAYOUT,
        feature_group_count=groups,
    )


def convolve_in_loop(x: jax.Array, kernel: jax.Array, padding: int = 0) -> jax.Array:
    """`convolve` of stride 1 for what learns inside a loop: on CPUs its gradients are fast there, too.

    XLA has one fast path for convolutions on CPUs. It transposes what has other layouts, as gradients by a kernel have,
    but not in the body of a loop; there they take dozens of times as long. So they are written in that layout here.
    """
    if jax.default_backend() == "cpu":
        return _in_one_layout(x, kernel, padding)
    return convolve(x, kernel, padding=padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _in_one_layout(x: jax.Array, kernel: jax.Array, padding: int) -> jax.Array:
    return convolve(x, kernel, padding=padding)


def _backward(padding: int, kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    turned = jnp.swapaxes(kernel[::-1, ::-1], 2, 3)  # [h, w, O, C]
    to_x = convolve(gradient, turned, padding=len(kernel) - 1 - padding)
    # Channels of x are the samples and samples the channels: the product is [C, h, w, O].
    to_kernel = convolve(jnp.swapaxes(x, 0, 3), jnp.moveaxis(gradient, 0, 2), padding=padding)
    return to_x, jnp.moveaxis(to_kernel, 0, 2)


_in_one_layout.defvjp(lambda x, kernel, padding: (convolve(x, kernel, padding=padding), (x, kernel)), _backward)


def max_pool(x: jax.Array, window: int, stride: int, padding: int = 0) -> jax.Array:
    """Maximum over square windows; what padding adds is -inf, never a maximum."""
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, window, window, 1), (1, stride, stride, 1), around)


def level_names(levels: int) -> tuple[str, ...]:
    """Names of feature levels: PyTorch's count from 2 whatever stages they come from; a single one has no number."""
    return ("only",) if levels == 1 else tuple(str(i + 2) for i in range(levels))


class Conv(nn.Module):
    """A convolution, depth-wise if `groups` is the number of channels in and out.

    It has a bias if `use_bias` is set or if it is applied to variables that hold one (a folded normalisation), and
    its kernel may be a transformed one (`jaxtrack.models.winograd`). With `looped`, for a plain one of stride 1, see
    `convolve_in_loop`.
    """

    features: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    use_bias: bool = True
    kernel_init: nn.initializers.Initializer = TORCH_DEFAULT
    bias_init: nn.initializers.Initializer | None = None
    looped: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, H, W, C]` to `[B, H', W', features]`."""
        shape = (self.kernel, self.kernel, x.shape[-1] // self.groups, self.features)
        if self.has_variable("params", "winograd"):
            out = winograd.convolve(x, self.get_variable("params", "winograd"), self.padding, self.dilation)
        else:
            kernel = self.param("kernel", self.kernel_init, shape).astype(x.dtype)
            if self.groups == x.shape[-1] == self.features:
                out = depthwise_conv(x, kernel, self.stride, self.padding, self.dilation)
            elif self.looped:
                chex.assert_equal((self.stride, self.dilation, self.groups), (1, 1, 1))
                out = convolve_in_loop(x, kernel, self.padding)
            else:
                out = convolve(x, kernel, self.stride, self.padding, self.dilation, self.groups)
        if not self.use_bias and not self.has_variable("params", "bias"):
            return out
        bias = self.param("bias", self.bias_init or torch_bias(shape), (self.features,))
        return out + bias.astype(out.dtype)[None, None, None]


def torch_bias(kernel_shape: tuple[int, ...]) -> nn.initializers.Initializer:
    """PyTorch's default for the bias of a convolution: uniform in +-1/sqrt(fan in)."""
    bound = np.prod(kernel_shape[:-1]).item() ** -0.5

    def init(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class ConvNorm(nn.Module):
    """A convolution (`conv`) and its batch normalisation (`norm`), or the convolution alone with both folded into it.

    Which of the two is a property of the variables, not of the module: see `fold_batch_norm`.
    """

    features: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    use_bias: bool = False
    kernel_init: nn.initializers.Initializer = TORCH_DEFAULT

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """`[B, H, W, C]` to `[B, H', W', features]`.

        Args:
          x: maps.
          train: normalise by the statistics of the batch and update the running ones, which are used otherwise.
        """
        folded = not self.is_initializing() and not self.has_variable("params", "norm")
        if folded and train:
            raise ValueError(f"{'/'.join(self.path)}: batch normalisation was folded away, it cannot be trained")
        x = Conv(
            self.features,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.use_bias,
            self.kernel_init,
            name="conv",
        )(x)
        return x if folded else BatchNorm(name="norm")(x, train=train)


def winograd_paths(trace: Callable[[], Any]) -> set[tuple[str, ...]]:
    """Paths of the convolutions that `trace` calls and that gain from `winograd`: 3 x 3, stride 1, many channels."""
    found = set()

    def note(call: Callable, arguments: tuple, named: dict, context: Any) -> Any:
        module = context.module
        square = isinstance(module, Conv) and (module.kernel, module.stride, module.groups) == (3, 1, 1)
        if square and arguments[0].shape[-1] * module.features >= winograd.FEWEST_CHANNELS:
            found.add(module.path)
        return call(*arguments, **named)

    with nn.intercept_methods(note):
        trace()
    return found


def fold_batch_norm(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The same network for inference, every pair of `conv` and batch `norm` made one convolution with a bias.

    Args:
      variables: `{"params", "batch_stats"}` of any network of `ConvNorm` modules.

    Returns:
      `{"params"}` alone, float32; computed in float64 on the host.
    """
    return {"params": _fold(variables["params"], variables.get("batch_stats", {}))}


def _fold(params: Mapping[str, Any], stats: Mapping[str, Any]) -> dict[str, Any]:
    if "norm" in stats:
        return {"conv": _fold_pair(params["conv"], params["norm"], stats["norm"])}
    return {
        name: _fold(child, stats.get(name, {})) if isinstance(child, Mapping) else child
        for name, child in params.items()
    }


def _fold_pair(conv: Mapping[str, Any], norm: Mapping[str, Any], stats: Mapping[str, Any]) -> dict[str, np.ndarray]:
    double = lambda leaf: np.asarray(leaf, np.float64)  # noqa: E731
    gain = double(norm["scale"]) / np.sqrt(double(stats["var"]) + EPSILON)
    bias = (double(conv.get("bias", 0.0)) - double(stats["mean"])) * gain + double(norm["bias"])
    return {"kernel": (double(conv["kernel"]) * gain).astype(np.float32), "bias": bias.astype(np.float32)}
